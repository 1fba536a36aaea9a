"""The actions of compaction: what is registered counts, one file stands for several, old files go."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from flows.stream_writer import compaction
from flows.stream_writer.batch import Compacted, Hour, ListedFile
from flows.stream_writer.commit import Commit
from flows.stream_writer.compaction import Crowded
from flows.stream_writer.connection import instant
from flows.stream_writer.declared import Configuration
from flows.stream_writer.hours import Hours
from larder.action import Action, Ahead
from larder.artifacts import Frozen
from larder.definition import Context

SETTLED_DAYS = 2
"""Messages that Redis took in within so many days are looked at."""


class Settled(Frozen):
    """What was registered and did not count yet, because its writer died and Redis forgot the messages."""

    files: int


class CrowdedHours(Frozen):
    """The hours that are worth compacting now."""

    hours: tuple[Crowded, ...]


class Replaced(Frozen):
    """How many files stand in the place of others."""

    files: int


class Swept(Frozen):
    """How many files were removed that had been replaced."""

    files: int


def look_settle(context: Context, configuration: Configuration) -> Ahead[Settled]:
    """Whether a writer died between registering its files and letting them count."""
    left = sum(len(files) for _, files in _unsettled(context, configuration))
    if left:
        return Ahead(None, f"let {left} files count that are registered")
    return Ahead(Settled(files=0), "all that is registered counts")


def settle(context: Context, configuration: Configuration) -> Settled:
    """Let all files count that are registered."""
    hours, done = Hours(context.store), 0
    for hour, files in _unsettled(context, configuration):
        hours.add(hour, files)
        done += len(files)
    return Settled(files=done)


def look_find(context: Context, configuration: Configuration) -> Ahead[CrowdedHours]:
    """The hours that hold several small files."""
    value = find(context, configuration)
    return Ahead(value, f"{len(value.hours)} hours hold several small files")


def find(context: Context, configuration: Configuration) -> CrowdedHours:
    """The hours that hold several small files."""
    found = compaction.crowded(Hours(context.store), configuration.compaction, instant())
    return CrowdedHours(hours=found)


def look_replace(context: Context, compacted: Compacted) -> Ahead[Replaced]:
    """Whether compacted files are to stand in the place of their sources."""
    left = compaction.outstanding(Hours(context.store), compacted)
    if left:
        return Ahead(None, f"let {len(left)} files of {compacted.hour} stand for several")
    return Ahead(Replaced(files=0), f"nothing of {compacted.hour} is to be replaced")


def replace(context: Context, compacted: Compacted) -> Replaced:
    """Let compacted files stand in the place of their sources."""
    return Replaced(files=compaction.replace(Hours(context.store), compacted))


def look_sweep(context: Context, configuration: Configuration) -> Ahead[Swept]:
    """Whether replaced files are old enough to be removed."""
    left = len(_replaced(context, configuration))
    if left:
        return Ahead(None, f"remove {left} files that were replaced")
    return Ahead(Swept(files=0), "no replaced file is old enough to be removed")


def sweep(context: Context, configuration: Configuration) -> Swept:
    """Remove replaced files that nobody reads any more."""
    names = _replaced(context, configuration)
    for name in names:
        context.store.delete(name)
    return Swept(files=len(names))


def _unsettled(context: Context, configuration: Configuration) -> Iterator[tuple[Hour, list[ListedFile]]]:
    today = instant().date()
    days = [f"{today - timedelta(days=back)}" for back in range(SETTLED_DAYS + 1)]
    for name in configuration.streams:
        commit = Commit(context.store, name, Path())
        for day in days:
            for hour in commit.ledger.hours(day):
                yield from commit.unsettled(hour).items()


def _replaced(context: Context, configuration: Configuration) -> list[str]:
    return list(compaction.replaced(Hours(context.store), configuration.compaction, instant()))


SETTLE = Action("settle", look_settle, settle)
FIND = Action("find crowded hours", look_find, find)
REPLACE = Action("replace", look_replace, replace)
SWEEP = Action("sweep", look_sweep, sweep)
