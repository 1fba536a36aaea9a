"""What was asked of a pipeline, and its answer: foreseen, run here, run on a worker."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TextIO

from cli.exits import EXIT_CODES, errors_of_the_world
from larder.connection import open_store, require_answer
from larder.forecast import Entry, Forecast, RefusedByStageError, Will, forecast
from larder.parameters import require_sendable
from larder.pipeline import Pipeline
from larder.refusal import RefusedError
from larder.report import Ended
from larder.settings import SettingsError, home_folder, settings
from larder.stages import forced, stage_named


@dataclass(frozen=True)
class How:
    """How a run is asked for, whichever pipeline it is of."""

    force: Sequence[str] = ()
    fail_at: str | None = None
    on_worker: bool = False
    without_server: bool = False

    def check(self) -> None:
        """Return if the options name stages.

        Raises:
            RefusedError: one does not.
        """
        forced(self.force)
        if self.fail_at:
            stage_named(self.fail_at, "--fail-at")

    @property
    def may_be_skipped(self) -> bool:
        """Whether no run is made where there is nothing to do."""
        return not (self.on_worker or self.force or self.fail_at or self.without_server)


@dataclass(frozen=True)
class Asked:
    """One run of a pipeline, as a person asks for it."""

    pipeline: Pipeline[..., Any]
    arguments: Mapping[str, Any]
    """Of the pipeline's function."""
    how: How = How()
    labels: Mapping[str, object] = field(default_factory=dict)
    """What is known of the run before it begins."""

    @property
    def subject(self) -> str:
        """What a refusal calls it."""
        product = self.labels.get("product")
        return f"recipe of {product}" if product else f"parameters of {self.pipeline.name}"

    @property
    def options(self) -> dict[str, Any]:
        """The parameters of the flow run."""
        options: dict[str, Any] = dict(self.arguments)
        if self.how.force:
            options["force"] = sorted(self.how.force)
        if self.how.fail_at:
            options["fail_at"] = self.how.fail_at
        return options

    def refusal(self, error: Exception) -> dict[str, Any]:
        """The document of a run that never began."""
        return self.pipeline.report.document(Ended(self.pipeline.name, None, self.labels, (), None, error))


def foresee(asked: Asked) -> Forecast:
    """What the run would do.

    Raises:
        RefusedError: what a person wrote has to be fixed.
        StoreError: the store does not answer.
    """
    now = settings()
    require_answer(now)
    return forecast(asked.pipeline, asked.arguments, now, open_store(now))


def answered(asked: Asked, as_json: bool, prepare: Callable[[], Asked] | None = None) -> int:
    """Run what was asked for, saying how it goes; the exit code.

    Args:
        prepare: makes what is asked whole; what it raises is told as the run's own failures are
    """
    out = sys.stderr if as_json else sys.stdout
    report = asked.pipeline.report
    try:
        asked = prepare() if prepare else asked
        document = _document(asked, out)
    except (RefusedError, SettingsError) as error:
        document = {**asked.refusal(error), "state": "refused"}
    except errors_of_the_world() as error:
        document = {**asked.refusal(error), "state": "failed"}
    if as_json:
        print(json.dumps(document, indent=2))
    if document["error"]:
        print(f"{document['state'].capitalize()}: {document['error']['message']}", file=sys.stderr)
    else:
        for line in report.end(document):
            print(line, file=out)
    return EXIT_CODES[document["state"]]


def explained(asked: Asked, as_json: bool, label: str = "name") -> int:
    """Say what would be done; the exit code."""
    try:
        foreseen = foresee(asked)
    except (RefusedError, SettingsError) as error:
        print(error, file=sys.stderr)
        return EXIT_CODES["refused"]
    except errors_of_the_world() as error:
        print(error, file=sys.stderr)
        return EXIT_CODES["failed"]
    if as_json:
        print(json.dumps([_entry(one, label) for one in foreseen.entries if not one.is_action], indent=2))
    else:
        _say(foreseen, sys.stdout)
    return 0


def _document(asked: Asked, out: TextIO) -> dict[str, Any]:
    asked.how.check()
    require_sendable(asked.subject, asked.options)
    if asked.how.may_be_skipped:
        with suppress(RefusedByStageError):
            foreseen = foresee(asked)
            if foreseen.nothing_to_do:
                return _nothing_to_do(asked, foreseen, out)
    if asked.how.without_server:
        from cli.without_server import run_without_server

        return run_without_server(asked, out)
    if asked.how.on_worker or _is_docker():
        from cli.following import run_on_worker

        return run_on_worker(asked, out)
    from cli.in_process import run_in_process

    return run_in_process(asked, out)


def _nothing_to_do(asked: Asked, foreseen: Forecast, out: TextIO) -> dict[str, Any]:
    store = open_store(settings())
    ended = Ended(asked.pipeline.name, None, foreseen.labels, foreseen.steps(store), foreseen.value, None)
    document = asked.pipeline.report.document(ended)
    print(asked.pipeline.report.nothing_to_do(document), file=out)
    for entry in foreseen.entries:
        if not entry.is_action:
            print(f"{entry.title}: reused {(entry.key or '')[:8]} ({entry.reason})", file=out)
    return document


def _entry(entry: Entry, label: str) -> dict[str, Any]:
    return {
        "stage": entry.stage,
        label: entry.label,
        "key": entry.key,
        "will": entry.will,
        "reason": entry.reason,
    }


def _say(foreseen: Forecast, out: TextIO) -> None:
    stages = [entry for entry in foreseen.entries if not entry.is_action]
    width = max((len(entry.title) for entry in foreseen.entries), default=0)
    for entry in foreseen.entries:
        print(f"{entry.title:<{width}}  {entry.will:<7}  {entry.reason}", file=out)
    if foreseen.ended_at:
        print(f"Further stages are not known yet: {foreseen.ended_at}.", file=out)
    times = {will: sum(entry.will is will for entry in stages) for will in Will}
    unknown = f", {times[Will.UNKNOWN]} depend on what comes out" if times[Will.UNKNOWN] else ""
    print(f"{times[Will.RUN]} would run, {times[Will.REUSE]} would be reused{unknown}.", file=out)


def _is_docker() -> bool:
    mode = home_folder() / "mode"
    return mode.exists() and mode.read_text().strip() == "docker"
