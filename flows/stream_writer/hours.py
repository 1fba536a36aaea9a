"""The document of each hour: the files that count. Readers of the folder see these and no others."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from flows.stream_writer import documents
from flows.stream_writer.batch import Hour, ListedFile
from flows.stream_writer.documents import Sealed
from flows.stream_writer.messages import order
from larder.store import Absent, Damaged, Store

ROOT = "streams/"
DOCUMENT = "hour.json"


class HourDocument(Sealed):
    """`hour.json`: the files of one hour that count, of all types and streams."""

    hour: Hour
    files: tuple[ListedFile, ...] = ()

    @property
    def named(self) -> frozenset[str]:
        """The names of the files that count or have counted."""
        return frozenset(name for file in self.files for name in (file.name, *file.replaced))

    def with_files(self, files: Iterable[ListedFile]) -> "HourDocument":
        """The same with further files; one that counts or has counted is not taken again."""
        new = {file.name: file for file in files if file.name not in self.named}
        return self.model_copy(update={"files": _in_order([*self.files, *new.values()])})

    def with_replaced(self, files: Sequence[ListedFile]) -> "HourDocument":
        """The same with files in the place of those that they replace.

        Those of which a replaced file does not count any more are left out: another compaction was first.
        """
        standing = {file.name: file for file in self.files}
        for file in files:
            gone = [name for name in file.replaced if name in standing]
            held = {name for one in gone for name in (one, *standing[one].replaced)}
            if file.name in standing or held != set(file.replaced):
                continue
            standing = {name: one for name, one in standing.items() if name not in gone} | {file.name: file}
        return self.model_copy(update={"files": _in_order(standing.values())})


class ReplacedError(RuntimeError):
    """A file was replaced and removed while it was waited for."""

    def __init__(self, name: str, hour: Hour) -> None:
        super().__init__(
            f"{name} of {hour} was replaced by another compaction and removed meanwhile. Nothing is lost. "
            "Run again, and keep replaced files for longer (compaction.keep_hours)."
        )


@dataclass(frozen=True)
class Hours:
    """The hours of one bucket."""

    store: Store

    def document(self, hour: Hour) -> HourDocument:
        """What counts in an hour; an empty document where nothing does."""
        found = documents.read(self.store, document_name(hour), HourDocument)
        return found[0] if found else HourDocument(hour=hour)

    def add(self, hour: Hour, files: Sequence[ListedFile]) -> HourDocument:
        """Let files count that lie in the hour's folder."""
        empty = HourDocument(hour=hour)
        return documents.revise(self.store, document_name(hour), empty, lambda now: now.with_files(files))

    def replace(self, hour: Hour, files: Sequence[ListedFile]) -> HourDocument:
        """Let files count in the place of those that they replace."""
        empty = HourDocument(hour=hour)
        return documents.revise(self.store, document_name(hour), empty, lambda now: now.with_replaced(files))

    def require_readable(self, file: ListedFile, hour: Hour) -> None:
        """Return if a file that counts is there as its document names it.

        Raises:
            Damaged: it is not.
        """
        name = file_name(hour, file)
        try:
            found = self.store.stat(name)
        except Absent as error:
            raise Damaged(self.store.uri(name), f"{document_name(hour)} names it, and it is gone") from error
        if (found.size, found.etag) != (file.bytes, file.etag):
            said = f"it has {found.size} bytes and ETag {found.etag}, named are {file.bytes} and {file.etag}"
            raise Damaged(self.store.uri(name), said)

    def fetch(self, hour: Hour, file: ListedFile, path: Path) -> None:
        """Put a file's bytes at a path, verified.

        Raises:
            ReplacedError: it counts no more, and was removed.
            Damaged: it counts, and is gone or another.
        """
        name = file_name(hour, file)
        try:
            self.store.get_file(name, path, file.sha256, file.bytes, file.etag)
        except Absent as error:
            if all(one.name != file.name for one in self.document(hour).files):
                raise ReplacedError(file.name, hour) from error
            raise Damaged(self.store.uri(name), f"{document_name(hour)} names it, and it is gone") from error

    def all(self, below: str = "") -> Iterator[Hour]:
        """The hours that have a document, oldest first, below a folder such as `year=2026/month=01/`."""
        for stored in self.store.below(ROOT + (below or "year=")):
            if stored.name.endswith("/" + DOCUMENT):
                yield hour_named(stored.name)


def folder_name(hour: Hour) -> str:
    """The folder of an hour, with a slash at its end."""
    year, month, day = hour[:10].split("-")
    return f"{ROOT}year={year}/month={month}/day={day}/hour={hour[11:]}/"


def document_name(hour: Hour) -> str:
    """The object that is an hour's document."""
    return folder_name(hour) + DOCUMENT


def file_name(hour: Hour, file: ListedFile) -> str:
    """The object that is a listed file."""
    return f"{folder_name(hour)}type={file.type}/{file.name}"


def hour_named(name: str) -> Hour:
    """The hour in the name of an object below it."""
    parts = dict(part.split("=", 1) for part in name.split("/") if "=" in part)
    return f"{parts['year']}-{parts['month']}-{parts['day']}T{parts['hour']}"


def _in_order(files: Iterable[ListedFile]) -> tuple[ListedFile, ...]:
    return tuple(sorted(files, key=lambda file: (file.type, file.stream, order(file.first), file.name)))
