"""A store that refuses calls, or gives other bytes: no run ends well with anything missing or redone."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from urllib.parse import unquote

import pytest

from cli.main import main
from flows.build.flow import build
from flows.build.recipe.file import parse_recipe
from larder.outcomes import Step, listening
from larder.settings import Settings
from tests import services
from tests.proxy import PASSING_REFUSALS, REFUSALS, Call, Kind, Proxy, Refusal, Rule, Times, allow, proxied
from tests.recipes import Bucket
from tests.tiny import tiny
from tests.wholeness import artifacts_in, assert_whole, finished, state

pytestmark = pytest.mark.usefixtures("quick")

PATIENCE_SECONDS = 0.15
CALLS_OF_TWO_STAGES = 15
RECIPE = """
name: Thing
product: thing
version: 24Q4
inputs: {datasets: [{id: trees, version: 1, file_type: csv}]}
exports: {datasets: [{name: trees, format: csv}]}
simulate: {}
"""
PACKAGE = "packages/thing/24Q4/"
TINY = {"draw", "double", "total"}
BUILD = {"plan", "load trees", "build", "package"}


@dataclass
class Attempt:
    """What one run came to."""

    executed: list[str] = field(default_factory=list)
    """The stages whose function began, in order."""
    outcomes: dict[str, str] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True)
class Bench:
    """A bucket behind a proxy, and the bucket itself."""

    proxy: Proxy
    bucket: Bucket

    def attempt(self, run: Callable[[], object], rule: Rule = allow) -> Attempt:
        """Run while calls are refused by a rule. A failure names an object."""
        attempt = Attempt()

        def hear(step: Step) -> None:
            if step.outcome is None:
                attempt.executed.append(step.title)

        self.proxy.reset(rule)
        with listening(hear) as audience:
            try:
                run()
            except Exception as error:  # noqa: BLE001
                attempt.error = str(error)
                assert f"s3://{self.bucket.name}" in attempt.error
        if audience.runs:
            attempt.outcomes = {step.title: str(step.outcome) for step in audience.runs[-1].outcomes.in_order}
        return attempt

    def result(self, stage: str) -> str:
        """The name of the one result of a stage."""
        (name,) = [name for name in self.bucket.names("results/") if f"/{stage}-" in name]
        return name

    def artifact(self, stage: str) -> str:
        """The name of the one artifact of a stage."""
        (artifact,) = artifacts_in(self.bucket.document(self.result(stage))["returned"])
        return str(artifact["object_name"])


@pytest.fixture(scope="module")
def proxy(s3: services.Store) -> Iterator[Proxy]:
    with proxied(str(s3.keys.s3_endpoint_url)) as proxy:
        yield proxy


@pytest.fixture
def bench(
    stack: Settings,
    s3: services.Store,
    proxy: Proxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Bench:
    monkeypatch.setenv("TINY_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("LARDER_S3_ENDPOINT_URL", proxy.url)
    monkeypatch.setenv("LARDER_STORE_SECONDS", str(PATIENCE_SECONDS))
    return Bench(proxy, Bucket(s3.client, stack.bucket_name))


def build_it() -> object:
    return build(parse_recipe(RECIPE, "recipe.yml"))


def in_turn(times: Times) -> Iterator[Refusal]:
    """Each call in turn, refused in each way in turn; the first one, which is waited for, is forbidden."""
    number = 0
    while True:
        yield Refusal(number + 1, REFUSALS[number % len(REFUSALS)], times)
        number += 1


class EachOnce:
    """A rule that refuses every call the first time that it is made."""

    KINDS = tuple(kind for other in PASSING_REFUSALS for kind in (Kind.TRUNCATED, other))

    def __init__(self) -> None:
        self.seen: set[Call] = set()

    def __call__(self, calls: list[Call]) -> Kind | None:
        if calls[-1] in self.seen:
            return None
        self.seen.add(calls[-1])
        return self.KINDS[len(self.seen) % len(self.KINDS)]


class NextOne:
    """A rule that refuses, in each run, the first call that was refused in none before, and its repeats."""

    def __init__(self, part: str) -> None:
        self.part = part
        """What stands in the path of the calls that are refused."""
        self.seen: list[Call] = []
        self.current: Call | None = None

    def __call__(self, calls: list[Call]) -> Kind | None:
        call = calls[-1]
        if len(calls) == 1:
            self.current = None
        if self.current is None and call not in self.seen and self.part in unquote(call.path):
            self.current = call
            self.seen.append(call)
        return REFUSALS[len(self.seen) % len(REFUSALS)] if call == self.current else None


@pytest.mark.parametrize("times", [Times.ONCE, Times.EVER_AFTER])
def test_a_first_run_fails_or_is_whole_and_the_next_completes(bench: Bench, times: Times) -> None:
    for refusal in islice(in_turn(times), CALLS_OF_TWO_STAGES):
        services.empty_bucket(bench.bucket.client, bench.bucket.name)
        refused = bench.attempt(tiny, refusal)
        assert bench.proxy.refused
        there = finished(bench.bucket)
        passes = times is Times.ONCE and refusal.kind in PASSING_REFUSALS
        assert (refused.error is None) == passes, refusal
        if passes:
            assert there == TINY
            continue
        following = bench.attempt(tiny)
        assert following.error is None
        assert set(following.executed) == TINY - there, refusal
        assert finished(bench.bucket) == TINY


def test_a_build_survives_that_every_call_is_refused_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LARDER_STORE_SECONDS", "60")
    first = bench.attempt(build_it, EachOnce())
    assert (first.error, set(first.executed)) == (None, BUILD)
    assert len(bench.proxy.refused) > 30
    assert_whole(bench.bucket, "thing", "24Q4")
    before = state(bench.bucket)
    again = bench.attempt(build_it, EachOnce())
    assert (again.error, again.executed) == (None, [])
    assert len(bench.proxy.refused) > 10
    assert state(bench.bucket) == before


def test_publishing_gets_on_while_each_of_its_calls_is_refused_in_one_run(bench: Bench) -> None:
    rule = NextOne(PACKAGE)
    for _ in range(50):
        before = finished(bench.bucket)
        refused = bench.attempt(build_it, rule)
        assert set(refused.executed) == BUILD - before
        if not bench.proxy.refused:
            break
        assert refused.error
    assert refused.error is None
    assert_whole(bench.bucket, "thing", "24Q4")
    assert len(rule.seen) > 8


def test_a_build_with_nothing_to_do_changes_nothing(bench: Bench) -> None:
    bench.attempt(build_it)
    before = state(bench.bucket)
    for refusal in in_turn(Times.EVER_AFTER):
        refused = bench.attempt(build_it, refusal)
        if not bench.proxy.refused:
            break
        assert refused.error, refusal
        assert refused.executed == []
        assert state(bench.bucket) == before
    assert refusal.number > 10


def test_damage_is_healed_by_the_next_run_and_nothing_else_runs(bench: Bench) -> None:
    bench.attempt(tiny)
    name = bench.artifact("double")
    for refusal in in_turn(Times.REPEATS):
        bench.bucket.put(name, b"damaged")
        refused = bench.attempt(tiny, refusal)
        assert set(refused.executed) <= {"double"}
        if not bench.proxy.refused:
            break
        assert refused.error, refusal
        following = bench.attempt(tiny)
        assert following.error is None
        assert set(following.executed) <= {"double"}
        assert finished(bench.bucket) == TINY
    assert refused.outcomes == {"draw": "reused", "double": "healed", "total": "reused"}
    assert refusal.number > 10


def test_a_damaged_package_is_repaired_by_the_next_run_and_no_stage_runs(bench: Bench) -> None:
    bench.attempt(build_it)
    rule = NextOne(PACKAGE)
    for _ in range(50):
        bench.bucket.delete(f"{PACKAGE}trees.csv")
        bench.bucket.put(f"{PACKAGE}data_dictionary.csv", b"damaged")
        refused = bench.attempt(build_it, rule)
        assert refused.executed == []
        if not bench.proxy.refused:
            break
        assert refused.error
    assert refused.error is None
    assert_whole(bench.bucket, "thing", "24Q4")
    assert len(rule.seen) > 5


@pytest.mark.parametrize(
    ("part", "stage"), [("results/thing/build-", "build"), (PACKAGE, "publish")], ids=["stage", "publish"]
)
def test_the_command_says_what_failed_and_which_object_was_refused(
    bench: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str], part: str, stage: str
) -> None:
    recipe = tmp_path / "recipe.yml"
    recipe.write_text(RECIPE)
    bench.proxy.reset(lambda calls: Kind.UNAVAILABLE if part in calls[-1].path else None)
    assert main(["build", str(recipe), "--json"]) == 1
    printed = capsys.readouterr()
    answer = json.loads(printed.out)
    assert (answer["state"], answer["package"]) == ("failed", None)
    assert answer["error"]["stage"] == stage
    assert (answer["error"]["key"] is None) == (stage == "publish")
    for text in (answer["error"]["message"], printed.err):
        assert f"s3://{bench.bucket.name}/{part}" in text


@pytest.mark.parametrize(("stage", "reader"), [("draw", "double"), ("draw", "total"), ("double", "total")])
def test_damage_that_only_reading_shows_is_healed_in_the_same_run(
    bench: Bench, stage: str, reader: str
) -> None:
    bench.attempt(tiny)
    name, document = bench.artifact(stage), bench.result(stage)
    bench.bucket.delete(bench.result(reader))
    bench.proxy.reset()
    bench.proxy.altered = lambda path: path.endswith(name)
    healed = run_altered(bench, lambda path: path.endswith(name))
    assert healed.error is None
    assert healed.outcomes == {**dict.fromkeys(TINY, "reused"), stage: "healed", reader: "executed"}
    assert healed.executed == [reader, stage, reader]
    assert bench.proxy.alterations == [f"/{bench.bucket.name}/{name}"]
    assert any(moved.startswith(f"damaged/{document}") for moved in bench.bucket.names("damaged/"))
    assert finished(bench.bucket) == TINY
    assert bench.attempt(tiny).executed == []


def run_altered(bench: Bench, altered: Callable[[str], bool]) -> Attempt:
    """Run the tiny pipeline while what is read of some objects is altered."""

    def allow_altered(calls: list[Call]) -> None:
        bench.proxy.altered = altered

    return bench.attempt(tiny, allow_altered)


def test_a_result_that_reads_wrong_for_ever_fails_the_run_and_names_it(bench: Bench) -> None:
    bench.attempt(tiny)
    name = bench.result("double")
    altered = run_altered(bench, lambda path: path.endswith(name))
    assert f"s3://{bench.bucket.name}/{name} is damaged" in str(altered.error)
    assert altered.executed == ["double"]
    following = bench.attempt(tiny)
    assert (following.error, following.executed) == (None, [])


@pytest.mark.parametrize("damage", ["deleted", "changed"])
@pytest.mark.parametrize(
    ("file", "stage"), [("trees.csv", "package"), ("recipe.lock.yml", "plan")], ids=["package's", "plan's"]
)
def test_an_artifact_that_is_damaged_when_it_is_published_is_healed(
    bench: Bench, damage: str, file: str, stage: str
) -> None:
    bench.attempt(build_it)
    (name,) = [name for name in bench.bucket.names("artifacts/thing/") if name.endswith(f"-{file}")]
    bench.bucket.delete(PACKAGE + file)
    done = []

    def damage_before_copying(calls: list[Call]) -> None:
        if not done and calls[-1].method == "PUT" and calls[-1].path.endswith(PACKAGE + file):
            done.append(bench.bucket.delete(name) if damage == "deleted" else bench.bucket.put(name, b"x"))

    healed = bench.attempt(build_it, damage_before_copying)
    assert done
    assert healed.error is None
    assert healed.outcomes == {**dict.fromkeys(BUILD, "reused"), stage: "healed"}
    assert healed.executed == [stage]
    assert_whole(bench.bucket, "thing", "24Q4")
    assert bench.attempt(build_it).executed == []


def test_an_artifact_that_is_never_what_was_written_fails_the_run_after_a_few_passes(bench: Bench) -> None:
    refused = bench.attempt(
        build_it, lambda calls: Kind.CHANGED if calls[-1].path.endswith(f"{PACKAGE}trees.csv") else None
    )
    assert refused.error is not None
    assert f"s3://{bench.bucket.name}/artifacts/thing/" in refused.error
    assert "trees.csv is damaged" in refused.error
    assert refused.executed.count("package") == 4
    assert f"{PACKAGE}package.json" not in bench.bucket.names()
    assert bench.attempt(build_it).executed == []
    assert_whole(bench.bucket, "thing", "24Q4")
