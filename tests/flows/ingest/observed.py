"""A department of the sample web and its bucket, and what each run made of them."""

import json
from dataclasses import dataclass, field
from typing import Any

from flows.ingest.archive import Archived
from flows.ingest.flow import ingest
from flows.ingest.report import archived_in
from flows.ingest.sample_web import SampleWeb
from flows.ingest.schema import Department
from larder.connection import open_store
from larder.forecast import Entry, Forecast, Will, forecast
from larder.outcomes import Outcome, listening
from larder.report import Ended
from larder.settings import settings
from tests.recipes import Bucket

LETTERS = {Outcome.REUSED: "R", Outcome.EXECUTED: "X", Outcome.HEALED: "H", Outcome.FAILED: "F", None: "-"}


@dataclass(frozen=True)
class Ran:
    """What a run came to."""

    ended: Ended

    @property
    def error(self) -> Exception | None:
        """Why it failed."""
        return self.ended.error

    @property
    def outcomes(self) -> dict[str, Outcome | None]:
        """What became of each stage, without the category in its label."""
        return {short(step.title): step.outcome for step in self.ended.steps}

    @property
    def archived(self) -> dict[str, Archived]:
        """Each file that was archived, by its source."""
        return {one.manifest.source: one for one in archived_in(self.ended)}

    def row(self, *titles: str) -> str:
        """The outcomes of these stages and what archiving came to: `XR new unchanged`."""
        changes = [self.archived[name].change for name in sorted(self.archived)]
        return " ".join(["".join(LETTERS[self.outcomes.get(title)] for title in titles), *changes])


@dataclass
class Observed:
    """A department that may change, the web that it reads, and its bucket."""

    sample: SampleWeb
    bucket: Bucket
    categories: dict[str, dict[str, Any]] = field(default_factory=dict)
    limits: dict[str, Any] = field(default_factory=lambda: {"pause_seconds": 0, "answer_seconds": 5})
    after: dict[str, Any] = field(default_factory=dict)
    """Its processing and analysis."""

    @property
    def department(self) -> Department:
        """The department as it is now."""
        reach = {"hosts": ["127.0.0.1"], "networks": ["127.0.0.0/8"], "limits": self.limits}
        ingestion = {
            name: {**reach, **one, "sources": [self._at(source) for source in one["sources"]]}
            for name, one in self.categories.items()
        }
        return Department.model_validate({"id": "alpha", "name": "A", "ingestion": ingestion, **self.after})

    def foresee(self, **arguments: Any) -> Forecast:
        """What a run that began now would do."""
        now = settings()
        return forecast(ingest, {"configuration": self.department, **arguments}, now, open_store(now))

    def run(self, **options: Any) -> Ran:
        """Run it, whatever comes of it. What was foreseen is what is done."""
        arguments = {name: value for name, value in options.items() if name == "category"}
        foreseen = self.foresee(**arguments) if options.keys() == arguments.keys() else None
        ran = self.run_unforeseen(**options)
        if foreseen is not None and ran.error is None:
            assert_foreseen(foreseen, ran)
        return ran

    def run_unforeseen(self, **options: Any) -> Ran:
        """Run it, whatever comes of it."""
        from larder.orchestration.flow import flow_of
        from larder.orchestration.page import ended_run

        value, error = None, None
        with listening(lambda step: None) as audience:
            try:
                value = flow_of(ingest)(configuration=self.department, **options)
            except Exception as raised:  # noqa: BLE001
                error = raised
        return Ran(ended_run(audience.runs[0], value, error))

    def names(self, prefix: str = "archive/") -> list[str]:
        """What lies in the archive."""
        return sorted(name.removeprefix(prefix) for name in self.bucket.names(prefix))

    @property
    def everything(self) -> dict[str, object]:
        """All that is archived or published; of documents what does not tell the time of their run."""
        prefixes = ("archive/", "processing/", "analysis/")
        names = [name for prefix in prefixes for name in self.bucket.names(prefix)]
        return {
            name: timeless(self.bucket.read(name))
            if name.endswith("manifest.json")
            else self.bucket.read(name)
            for name in names
            if not name.endswith("published.json")
        }

    def _at(self, source: dict[str, Any]) -> dict[str, Any]:
        return {**source, "url": source["url"].replace("SAMPLE", self.sample.url)}


def timeless(manifest: bytes) -> dict[str, Any]:
    """A manifest without its times."""
    content: dict[str, Any] = json.loads(manifest)
    headers = {name: text for name, text in content["headers"].items() if name != "date"}
    return {**content, "headers": headers, "first_seen": None, "last_seen": None}


def short(title: str) -> str:
    """The title of a stage, without the category in its label."""
    stage, _, label = title.partition(" ")
    return f"{stage} {label.rsplit('/', 1)[-1]}"


def assert_foreseen(foreseen: Forecast, ran: Ran) -> None:
    """What a forecast says will run does run, and what it says is reused is."""
    stages = [entry for entry in foreseen.entries if not entry.is_action]
    outcomes = {step.title: step for step in ran.ended.steps}
    if foreseen.ended_at is None:
        assert {entry.title for entry in stages} == set(outcomes)
    for entry in stages:
        step = outcomes[entry.title]
        assert _agrees(entry, step.outcome), entry
        if entry.key and entry.will is Will.REUSE:
            assert entry.key == step.key, entry


def _agrees(entry: Entry, outcome: Outcome | None) -> bool:
    match entry.will:
        case Will.REUSE:
            return outcome is Outcome.REUSED
        case Will.RUN:
            return outcome in {Outcome.EXECUTED, Outcome.HEALED}
        case _:
            return True
