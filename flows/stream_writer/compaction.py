"""Hours with many small files: which they are, one file in place of several, what is removed after."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from flows.stream_writer.batch import Compacted, Hour, ListedFile, NewFile
from flows.stream_writer.commit import place
from flows.stream_writer.declared import Compaction
from flows.stream_writer.hours import ROOT, Hours, file_name, folder_name, hour_named
from larder.artifacts import Frozen
from larder.store import Stored


class Crowded(Frozen):
    """Files of one hour that are worth joining."""

    hour: Hour
    files: tuple[ListedFile, ...]


def crowded(hours: Hours, rules: Compaction, now: datetime) -> tuple[Crowded, ...]:
    """The hours that have ended and hold several small files of one type and stream, oldest first."""
    found = []
    for hour, objects in _by_hour(hours):
        ended = datetime.fromisoformat(f"{hour}:00:00+00:00") + timedelta(hours=1)
        many = len(objects) > rules.files
        if many and now >= ended + timedelta(minutes=rules.settled_minutes):
            files = _worth(hours.document(hour).files, rules)
            if files:
                found.append(Crowded(hour=hour, files=files))
    return tuple(found)


def outstanding(hours: Hours, compacted: Compacted) -> list[NewFile]:
    """The compacted files that do not count yet and whose sources all do."""
    document = hours.document(compacted.hour)
    left = []
    for file in compacted.files:
        held = {
            name for one in document.files if one.name in file.replaced for name in (one.name, *one.replaced)
        }
        if held == set(file.replaced):
            left.append(file)
    return left


def replace(hours: Hours, compacted: Compacted) -> int:
    """Let compacted files count in the place of their sources, at once; how many do."""
    left = outstanding(hours, compacted)
    listed = [place(hours.store, compacted.hour, file) for file in left]
    if not listed:
        return 0
    document = hours.replace(compacted.hour, listed)
    names = {file.name for file in document.files}
    counting = [file for file in listed if file.name in names]
    for file in counting:
        hours.require_readable(file, compacted.hour)
    return len(counting)


def replaced(hours: Hours, rules: Compaction, now: datetime) -> Iterator[str]:
    """The objects that do not count any more and that nobody reads any more."""
    oldest = now - timedelta(hours=rules.keep_hours)
    for hour, objects in _by_hour(hours):
        modified = {stored.name: stored.modified for stored in objects}
        if len(modified) < 2:
            continue
        for file in hours.document(hour).files:
            written = modified.get(file_name(hour, file))
            if file.replaced and written and written.astimezone(UTC) <= oldest:
                folder = f"{folder_name(hour)}type={file.type}/"
                yield from (folder + name for name in file.replaced if folder + name in modified)


def _by_hour(hours: Hours) -> Iterator[tuple[Hour, list[Stored]]]:
    found: dict[Hour, list[Stored]] = {}
    for stored in hours.store.below(f"{ROOT}year="):
        found.setdefault(hour_named(stored.name), []).append(stored)
    yield from sorted(found.items())


def _worth(files: Sequence[ListedFile], rules: Compaction) -> tuple[ListedFile, ...]:
    groups: dict[tuple[str, str], list[ListedFile]] = {}
    for file in files:
        if file.bytes < rules.small_bytes:
            groups.setdefault((file.type, file.stream), []).append(file)
    return tuple(file for group in groups.values() if len(group) >= rules.files for file in group)
