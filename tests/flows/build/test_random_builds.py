"""Random edits, failures, damages and builds against a model: never stale, never a stage without need.

`LARDER_TEST_STEPS` asks for so many random steps, in place of some two hundred that are always the same.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, ClassVar
from uuid import uuid4

import pytest
import yaml
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from flows.build.flow import build
from flows.build.publish import Published
from flows.build.recipe.file import parse_recipe
from larder.forecast import Will
from larder.orchestration.flow import flow_of
from larder.outcomes import Step, listening
from larder.settings import Settings
from larder.stage import StageFailed
from tests import services
from tests.explained import explained
from tests.recipes import Bucket
from tests.wholeness import assert_whole, is_whole

pytestmark = pytest.mark.usefixtures("quick")

FIXED_STEPS = 200
BUILDS_OF_ONE = 8
STEPS_OF_ONE = 20
EXPORTS: tuple[list[dict[str, str]], ...] = (
    [{"name": "a", "format": "csv"}],
    [{"name": "a", "format": "parquet"}, {"name": "b", "format": "csv", "filename": "bees.csv"}],
    [{"name": "b", "format": "csv", "filename": "bees.csv"}, {"name": "a", "format": "shp"}],
)
CHANGES = (
    st.tuples(st.just("pin"), st.tuples(st.sampled_from("abc"), st.sampled_from("12"))),
    st.tuples(st.sampled_from(["drop", "reverse"]), st.none()),
    st.tuples(st.just("looks"), st.integers(0, 2)),
    st.tuples(st.just("version"), st.sampled_from(["25Q1", "25Q2"])),
    st.tuples(st.just("env"), st.sampled_from([{}, {"FACTOR": "2"}])),
    st.tuples(st.just("simulate"), st.sampled_from([{}, {"seconds": {"load": 0.001}}])),
    st.tuples(
        st.just("exports"),
        st.builds(
            lambda datasets, more: {"datasets": datasets, **more},
            st.sampled_from(EXPORTS),
            st.sampled_from([{}, {"zip_name": "all"}]),
        ),
    ),
)
FORCED = ("plan", "load", "load:a", "load:b", "build", "package")
ORDER = ["plan", "load", "build", "package"]
SOME_CHANGES = st.lists(st.one_of(CHANGES), min_size=1, max_size=4)
SOME_DAMAGES = st.lists(
    st.tuples(
        st.sampled_from(["cut", "changed", "deleted"]),
        st.sampled_from(["results/", "artifacts/", "packages/"]),
        st.integers(0, 100),
        st.floats(0, 1),
    ),
    min_size=1,
    max_size=4,
)
ASKED = st.tuples(
    st.one_of(st.just([]), st.lists(st.sampled_from(FORCED), max_size=2)),
    st.one_of(st.none(), st.none(), st.none(), st.sampled_from(ORDER)),
)
Change = tuple[str, Any]
Damage = tuple[str, str, int, float]
Asked = tuple[list[str], str | None]
Content = dict[str, Any]
Key = tuple[object, ...]


@dataclass
class Model:
    """What must be in a bucket, and what must become of each stage and of the package."""

    bucket: Bucket
    written: dict[Key, tuple[str, bytes]] = field(default_factory=dict)
    """The object of each result that was ever made, and its bytes."""
    documents: dict[str, bytes] = field(default_factory=dict)
    """Each `package.json` as it was written, by its version."""
    locks: dict[str, bytes] = field(default_factory=dict)
    """Each `recipe.lock.yml` as it was published."""
    published: dict[str, tuple[Key, Key]] = field(default_factory=dict)
    """Which plan and package it names, by its version."""

    def outcome(self, key: Key) -> str:
        """What must become of the stage with this key."""
        name, content = self.written.get(key, ("results/none", b""))
        if name not in self.bucket.names(name):
            return "executed"
        return "reused" if self.bucket.read(name) == content and is_whole(self.bucket, name) else "healed"

    def publish(self, version: str, made_from: tuple[Key, Key]) -> str:
        """What must become of the package."""
        prefix = f"packages/thing/{version}/"
        there = {name: self.bucket.read(name) for name in self.bucket.names(prefix)}
        document = there.get(f"{prefix}package.json")
        if document is None:
            return "published"
        lock = there.get(f"{prefix}recipe.lock.yml")
        if document != self.documents[version]:
            return "repaired" if lock in (None, self.locks[version]) else "unknown"
        if made_from != self.published[version]:
            return "published"
        for file in json.loads(document)["files"]:
            content = there.get(prefix + file["name"])
            if content is None or hashlib.sha256(content).hexdigest() != file["sha256"]:
                return "repaired"
        return "unchanged"


def keys_of(recipe: Content) -> dict[str, Key]:
    """What each stage's result depends on, in the order in which stages run."""
    inputs = {entry["id"]: entry["version"] for entry in recipe["inputs"]["datasets"]}
    tables = tuple(sorted({export["name"] for export in recipe["exports"]["datasets"]}))
    made_from = (recipe["version"], tables, *sorted(inputs.items()))
    return {
        "plan": ("plan", json.dumps(recipe, sort_keys=True)),
        **{f"load {name}": ("load", name, version) for name, version in inputs.items()},
        "build": ("build", json.dumps(recipe["env"], sort_keys=True), made_from),
        "package": ("package", json.dumps(recipe["exports"], sort_keys=True), made_from),
    }


class Builds(RuleBasedStateMachine):
    """One product in one bucket, edited, damaged and built."""

    client: ClassVar[Any]
    environment: ClassVar[pytest.MonkeyPatch]
    fresh: ClassVar[dict[str, dict[str, bytes]]] = {}
    """What each recipe gives in an empty bucket."""
    steps: ClassVar[Counter[str]] = Counter()
    outcomes: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.model = Model(new_bucket(self.client))
        self.environment.setenv("LARDER_BUCKET", self.bucket.name)
        self.recipe: Content = {
            "name": "Thing",
            "product": "thing",
            "version": "25Q1",
            "env": {},
            "inputs": {"datasets": [entry_of("a", "1"), entry_of("b", "1")]},
            "exports": {"datasets": EXPORTS[0]},
            "simulate": {},
        }
        self.looks = 0

    def teardown(self) -> None:
        services.remove_bucket(self.client, self.bucket.name)

    @property
    def bucket(self) -> Bucket:
        return self.model.bucket

    @property
    def inputs(self) -> list[dict[str, str]]:
        entries: list[dict[str, str]] = self.recipe["inputs"]["datasets"]
        return entries

    @rule(changes=SOME_CHANGES, asked=ASKED)
    def edit_and_build(self, changes: list[Change], asked: Asked) -> None:
        self.edit(changes)
        self.build(*asked)

    @rule(damages=SOME_DAMAGES, asked=ASKED)
    def damage_and_build(self, damages: list[Damage], asked: Asked) -> None:
        self.damage(damages)
        self.build(*asked)

    @rule(changes=SOME_CHANGES, damages=SOME_DAMAGES, asked=ASKED)
    def edit_damage_and_build(self, changes: list[Change], damages: list[Damage], asked: Asked) -> None:
        self.edit(changes)
        self.damage(damages)
        self.build(*asked)

    @rule(asked=ASKED)
    def build_again(self, asked: Asked) -> None:
        self.build(*asked)

    def edit(self, changes: list[Change]) -> None:
        """Change the recipe, or what it looks like."""
        for change in changes:
            self.steps[change[0]] += 1
            match change:
                case "pin", (name, version):
                    others = [entry for entry in self.inputs if entry["id"] != name]
                    self.recipe["inputs"]["datasets"] = [*others, entry_of(name, version)]
                case "drop", _:
                    self.inputs[:] = [entry for entry in self.inputs if entry["id"] != "c"]
                case "reverse", _:
                    self.inputs.reverse()
                case "looks", number:
                    self.looks = number
                case key, value:
                    self.recipe[key] = value

    def damage(self, damages: list[Damage]) -> None:
        """Damage or delete some objects."""
        for how, part, number, share in damages:
            if names := self.bucket.names(part):
                self.steps[how] += 1
                name = names[number % len(names)]
                content = self.bucket.read(name)
                at = min(int(share * len(content)), len(content) - 1)
                match how:
                    case "deleted":
                        self.bucket.delete(name)
                    case "changed" if content:
                        self.bucket.put(name, content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
                    case _:
                        self.bucket.put(name, content[: max(at, 0)])

    def build(self, force: list[str], fail_at: str | None) -> None:
        """Build, and compare with the model all that was executed and what is there afterwards."""
        self.steps["build"] += 1
        wanted = keys_of(self.recipe)
        reached = [
            title
            for title in wanted
            if fail_at is None or ORDER.index(stage_of(title)) < ORDER.index(fail_at)
        ]
        forced = {
            title for title in wanted if {title.replace(" ", ":"), title.partition(" ")[0]} & set(force)
        }
        expected = {title: self.model.outcome(wanted[title]) for title in reached}
        for title in forced & expected.keys():
            expected[title] = {"reused": "executed"}.get(expected[title], expected[title])
        made_from = wanted["plan"], wanted["package"]
        publish = self.model.publish(self.recipe["version"], made_from)
        if publish == "unknown" and fail_at is None:
            # Whether a real build made it cannot be told any more: a simulated one may leave it alone.
            self.bucket.delete(f"packages/thing/{self.recipe['version']}/package.json")
            publish = "published"
        for forecast in explained(parse_recipe(self.text(), "recipe.yml")):
            if (
                forecast.will is not Will.UNKNOWN
                and forecast.title in reached
                and forecast.title not in forced
            ):
                will_run = expected[forecast.title] != "reused"
                assert (forecast.will is Will.RUN) == will_run, forecast
                self.outcomes[f"said to {forecast.will}"] += 1
        published, steps, begun = self.run_build(force, fail_at)
        self.outcomes.update(expected.values())
        self.outcomes[publish] += fail_at is None
        assert sorted(begun) == sorted(title for title in expected if expected[title] != "reused")
        assert {title: str(steps[title].outcome) for title in reached} == expected
        for title in begun:
            name = self.bucket.inside(str(steps[title].result))
            self.model.written[wanted[title]] = (name, self.bucket.read(name))
        assert (published is None) == (fail_at is not None)
        if published:
            assert published.publish == publish
            self.compare(made_from)

    def run_build(
        self, force: Sequence[str], fail_at: str | None
    ) -> tuple[Published | None, dict[str, Step], list[str]]:
        begun: list[str] = []

        def hear(step: Step) -> None:
            if step.outcome is None:
                begun.append(step.title)

        published = None
        failing = pytest.raises(StageFailed, match=f"Stage {fail_at}") if fail_at else nullcontext()
        with listening(hear) as audience, failing:
            published = flow_of(build)(parse_recipe(self.text(), "recipe.yml"), force=force, fail_at=fail_at)
        return published, {step.title: step for step in audience.runs[-1].outcomes.in_order}, begun

    def text(self) -> str:
        match self.looks:
            case 0:
                return yaml.safe_dump(self.recipe, sort_keys=False)
            case 1:
                return "# a comment\n" + yaml.safe_dump(self.recipe, sort_keys=True, indent=4)
            case _:
                return json.dumps(self.recipe)

    def compare(self, made_from: tuple[Key, Key]) -> None:
        """What is published is what an empty bucket would come to."""
        version, text = self.recipe["version"], json.dumps(self.recipe)
        if text not in self.fresh:
            apart = new_bucket(self.client)
            with pytest.MonkeyPatch.context() as environment:
                environment.setenv("LARDER_BUCKET", apart.name)
                build(parse_recipe(text, "recipe.yml"))
            self.fresh[text] = apart.package("thing", version)
            services.remove_bucket(self.client, apart.name)
        assert self.bucket.package("thing", version) == self.fresh[text]
        assert_whole(self.bucket, "thing", version)
        self.model.documents[version] = self.bucket.read(f"packages/thing/{version}/package.json")
        self.model.locks[version] = self.bucket.read(f"packages/thing/{version}/recipe.lock.yml")
        self.model.published[version] = made_from


def new_bucket(client: Any) -> Bucket:
    bucket = Bucket(client, f"test-{uuid4().hex[:12]}")
    client.create_bucket(Bucket=bucket.name)
    return bucket


def entry_of(name: str, version: str) -> dict[str, str]:
    return {"id": name, "version": version, "file_type": "csv"}


def stage_of(title: str) -> str:
    return title.partition(" ")[0]


def test_random_builds_are_never_stale_and_run_nothing_without_need(
    stack: Settings, s3: services.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = int(os.environ.get("LARDER_TEST_STEPS", "0"))
    Builds.client, Builds.environment = s3.client, monkeypatch
    run_state_machine_as_test(
        Builds,
        settings=hypothesis_settings(
            max_examples=max((asked or FIXED_STEPS) // STEPS_OF_ONE, 1),
            stateful_step_count=BUILDS_OF_ONE,
            derandomize=not asked,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
    print(
        f"{Builds.steps.total()} steps on {len(Builds.fresh)} recipes: {Builds.steps} gave {Builds.outcomes}"
    )
    assert Builds.steps["build"] > (asked or FIXED_STEPS) / 10
    assert {"executed", "reused", "healed", "published", "unchanged", "repaired"} <= Builds.outcomes.keys()
