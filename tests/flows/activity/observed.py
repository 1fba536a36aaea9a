"""An API and a bucket, and what each run of the pipeline made of them."""

from dataclasses import dataclass, field
from typing import Any

from flows.activity.flow import activity
from flows.activity.sample_server import Fault, SampleApi
from flows.activity.samples import made_up_posts, made_up_users
from flows.activity.schema import Configuration
from flows.activity.stages.api import Limits
from flows.activity.stages.pages import Source
from larder.connection import open_store
from larder.forecast import Entry, Forecast, Will, forecast
from larder.outcomes import Outcome, Step, listening
from larder.published import PublishedFolder
from larder.settings import settings
from tests.recipes import Bucket

USERS, POSTS = 12, 60
READ, CLEANED, JOINED = ("users", "posts"), ("clean_users", "clean_posts"), ("enrich_posts",)
COUNTED = ("user_activity", "top_authors", "summary")
WRITTEN = tuple(
    f"export_{name}" for name in ("users", "posts_enriched", "user_stats", "top_authors", "summary")
)
STAGES = (*READ, *CLEANED, *JOINED, *COUNTED, *WRITTEN)
FILES = tuple(f"{name.removeprefix('export_')}.csv" for name in WRITTEN)
Objects = dict[str, tuple[bytes, str]]
"""Content and media type of the objects in a bucket, by name."""
LETTERS = {Outcome.REUSED: "R", Outcome.EXECUTED: "X", Outcome.HEALED: "H", Outcome.FAILED: "F", None: "-"}


@dataclass(frozen=True)
class Ran:
    """What a run came to."""

    steps: tuple[Step, ...]
    published: PublishedFolder | None
    error: Exception | None

    @property
    def outcomes(self) -> dict[str, Outcome | None]:
        """What became of each stage."""
        return {step.title: step.outcome for step in self.steps}

    @property
    def row(self) -> str:
        """The outcomes as `RR RR R RRR RRRRR unchanged`: read, cleaned, joined, counted, written."""
        groups = (READ, CLEANED, JOINED, COUNTED, WRITTEN)
        letters = ["".join(LETTERS[self.outcomes.get(stage)] for stage in group) for group in groups]
        return " ".join([*letters, self.published.publish if self.published else "-"])

    def step(self, stage: str) -> Step:
        """One stage of the run."""
        return next(step for step in self.steps if step.title == stage)


@dataclass
class Observed:
    """An API whose content may change, and the bucket that its files are published in."""

    api: SampleApi
    url: str
    bucket: Bucket
    limits: Limits = field(default_factory=lambda: Limits(retries=1, retry_delay_seconds=0))

    @property
    def configuration(self) -> Configuration:
        """Where the sources are."""
        places = {"users": Source(url=f"{self.url}/users"), "posts": Source(url=f"{self.url}/posts")}
        return Configuration(sources=places, limits=self.limits)

    def foresee(self, **arguments: Any) -> Forecast:
        """What a run that began now would do."""
        now = settings()
        return forecast(activity, {"configuration": self.configuration, **arguments}, now, open_store(now))

    def run(self, **options: Any) -> Ran:
        """Run it, whatever comes of it. What was foreseen is what is done."""
        arguments = {name: value for name, value in options.items() if name == "refresh"}
        foreseen = self.foresee(**arguments) if not options.keys() - {"refresh"} else None
        ran = self.run_unforeseen(**options)
        if foreseen is not None and ran.error is None:
            assert_foreseen(foreseen.entries, ran)
        return ran

    def run_unforeseen(self, **options: Any) -> Ran:
        """Run it, whatever comes of it."""
        from larder.orchestration.flow import flow_of

        published, error = None, None
        with listening(lambda step: None) as audience:
            try:
                published = flow_of(activity)(configuration=self.configuration, **options)
            except Exception as raised:  # noqa: BLE001
                error = raised
        return Ran(tuple(audience.runs[-1].outcomes.in_order), published, error)

    @property
    def published(self) -> dict[str, bytes]:
        """The files that are published."""
        names = self.bucket.names("activity/")
        return {name.removeprefix("activity/"): self.bucket.read(name) for name in names}

    def reset(self) -> None:
        """Make the API what it was first."""
        fresh = SampleApi(made_up_users(USERS), made_up_posts(POSTS, USERS))
        for name in ("users", "posts", "etags", "last_modified", "edition", "requests"):
            setattr(self.api, name, getattr(fresh, name))
        self.api.fail(Fault.UNAVAILABLE, times=0)


def objects_in(bucket: Bucket) -> Objects:
    """All objects of a bucket."""
    found = {name: bucket.client.get_object(Bucket=bucket.name, Key=name) for name in sorted(bucket.names())}
    return {name: (answer["Body"].read(), answer["ContentType"]) for name, answer in found.items()}


def put_objects(bucket: Bucket, objects: Objects) -> None:
    """Put objects into a bucket, as a copy of another one does."""
    for name, (content, kind) in objects.items():
        bucket.client.put_object(Bucket=bucket.name, Key=name, Body=content, ContentType=kind)


def assert_foreseen(entries: list[Entry], ran: Ran) -> None:
    """What a forecast says will run does run, and what it says is reused is."""
    expected = {Will.REUSE: {Outcome.REUSED}, Will.RUN: {Outcome.EXECUTED, Outcome.HEALED}}
    stages = [entry for entry in entries if not entry.is_action]
    assert {entry.title for entry in stages} == set(ran.outcomes)
    for entry in stages:
        if entry.will in expected:
            assert ran.outcomes[entry.title] in expected[entry.will], entry
        if entry.key:
            assert entry.key == ran.step(entry.title).key, entry
