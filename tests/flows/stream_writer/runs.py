"""Runs of the pipeline in this process and in others, and what a reader of the bucket then sees."""

from dataclasses import dataclass
from typing import Any

from flows.stream_writer.declared import Configuration
from flows.stream_writer.flow import stream_writer
from flows.stream_writer.generator import made_up, send
from flows.stream_writer.streams import connected
from flows.stream_writer.told import Told
from larder.connection import open_store
from larder.forecast import Forecast, forecast
from larder.outcomes import Outcome, Step, listening
from larder.settings import settings

RUNNING = "running"


@dataclass(frozen=True)
class Ran:
    """What a run came to."""

    steps: tuple[Step, ...]
    told: Told | None
    error: Exception | None

    @property
    def executed(self) -> list[str]:
        """The stages that were executed."""
        return [step.stage for step in self.steps if step.outcome is Outcome.EXECUTED]

    @property
    def reused(self) -> list[str]:
        """The stages that were reused."""
        return [step.stage for step in self.steps if step.outcome is Outcome.REUSED]


@dataclass(frozen=True)
class Written:
    """Streams of their own in a Redis, and a bucket that they are written into."""

    url: str
    configuration: Configuration

    def put(self, events: int, broken: float = 0.0, seed: int = 1) -> None:
        """Made-up events."""
        send(connected(self.url), made_up(events, self.configuration.streams, broken, seed))

    def foresee(self, **options: Any) -> Forecast:
        """What a run that began now would do."""
        now = settings()
        return forecast(stream_writer, {"configuration": self.configuration, **options}, now, open_store(now))

    def run(self, **options: Any) -> Ran:
        """Run it, whatever comes of it."""
        from larder.orchestration.flow import flow_of

        told, error = None, None
        with listening(lambda step: None) as audience:
            try:
                told = flow_of(stream_writer)(configuration=self.configuration, **options)
            except Exception as raised:  # noqa: BLE001
                error = raised
        return Ran(tuple(audience.runs[-1].outcomes.in_order), told, error)
