"""Lets the files of a batch count: every message once, whoever writes beside us, whatever was killed when.

The protocol, and why each step may be the last one, is in `docs/stream_writer.md`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from flows.stream_writer import documents
from flows.stream_writer.batch import Hour, ListedFile, NewFile, Part, PartFile
from flows.stream_writer.hours import Hours, file_name
from flows.stream_writer.ledger import Ledger, LedgerDocument, PartDocument, PlacedFile
from flows.stream_writer.messages import id_of, read_identities, write_identities
from flows.stream_writer.stages.tables import ids_in, without
from flows.tables.table import database
from larder import keys, transfer
from larder.artifacts import Artifact, Frozen
from larder.store import Absent, Damaged, Store, sums_of

MOST_IDS_BYTES = 64 * 2**20
PARQUET_TYPE = "application/vnd.apache.parquet"


class Committed(Frozen):
    """What became of a batch's messages."""

    messages: int
    written: int
    """Of them by this run; the others were written before."""
    files: int
    """That hold them."""


class NotWholeError(RuntimeError):
    """What was just written cannot be read back."""


@dataclass(frozen=True)
class Commit:
    """Lets parts of one stream count."""

    store: Store
    stream: str
    scratch: Path
    """A folder for files that are made anew because some of their messages were written before."""

    @property
    def ledger(self) -> Ledger:
        """The ledger of the stream."""
        return Ledger(self.store, self.stream)

    @property
    def hours(self) -> Hours:
        """The hours of the bucket."""
        return Hours(self.store)

    def look(self, parts: Sequence[Part]) -> Committed | None:
        """What there is to say if every message counts and its file can be read; else None.

        Raises:
            Damaged: a file that counts is gone or another.
        """
        holding = self._holding(parts)
        if holding is None:
            return None
        files = 0
        for hour, names in _names(holding).items():
            document = self.hours.document(hour)
            if not names <= document.named:
                return None
            counting = [file for file in document.files if not names.isdisjoint((file.name, *file.replaced))]
            for file in counting:
                self.hours.require_readable(file, hour)
            files += len(counting)
        return Committed(messages=sum(part.messages for part in parts), written=0, files=files)

    def act(self, parts: Sequence[Part]) -> Committed:
        """Let every message count that does not yet, and read back what says so.

        Raises:
            Damaged: an artifact of a part, or a file that counts, is gone or another.
            NotWholeError: what was written cannot be read back.
        """
        written = sum(self._register(part) for part in parts)
        for hour, files in _files(self._holding(parts) or ()).items():
            self.hours.add(hour, files)
        committed = self.look(parts)
        if committed is None:
            raise NotWholeError(f"{self.stream}: what was just written cannot be read back from the store")
        return committed.model_copy(update={"written": written})

    def unsettled(self, hour: Hour) -> dict[Hour, list[ListedFile]]:
        """The files of an hour's registered parts that do not count yet, by the hour of their events."""
        names = self.ledger.document(hour).parts
        found = {}
        for event_hour, files in _files([self.ledger.part(hour, name) for name in names]).items():
            named = self.hours.document(event_hour).named
            if left := [file for file in files if file.name not in named]:
                found[event_hour] = left
        return found

    def _holding(self, parts: Sequence[Part]) -> list[PartDocument] | None:
        found = []
        for part in parts:
            coverage = self.ledger.coverage(self.ledger.document(part.hour), self._identities(part))
            if coverage.missing:
                return None
            found += [self.ledger.part(part.hour, name) for name in coverage.parts]
        return found

    def _register(self, part: Part) -> int:
        identities, registered = self._identities(part), 0

        def register(now: LedgerDocument) -> LedgerDocument:
            nonlocal registered
            missing = self.ledger.coverage(now, identities).missing
            registered = len(missing)
            if not missing:
                return now
            new = [one for one in identities if one in missing]
            document = self._placed(part, new, {id_of(one) for one in identities if one not in missing})
            return now.with_part(document.name)

        empty = LedgerDocument(stream=self.stream, hour=part.hour)
        documents.revise(self.store, self.ledger.name(part.hour), empty, register)
        return registered

    def _placed(self, part: Part, identities: Sequence[str], dropped: set[str]) -> PartDocument:
        placed = [self._rewritten(file, dropped) if dropped else self._copied(file) for file in part.files]
        listed = self.scratch / f"{uuid4().hex}.ids.gz"
        write_identities(identities, listed)
        ids = listed.read_bytes()
        document = PartDocument(
            stream=self.stream,
            hour=part.hour,
            first=id_of(identities[0]),
            last=id_of(identities[-1]),
            messages=len(identities),
            ids_sha256=keys.sha256(ids),
            files=tuple(file for file in placed if file is not None),
        )
        self.ledger.keep(document, ids)
        return document

    def _copied(self, file: PartFile) -> PlacedFile:
        return PlacedFile(hour=file.hour, file=place(self.store, file.hour, file))

    def _rewritten(self, file: PartFile, dropped: set[str]) -> PlacedFile | None:
        whole, rest = (self.scratch / f"{uuid4().hex}.parquet" for _ in range(2))
        transfer.fetch(self.store, _artifact(file.file), whole)
        with database(self.scratch) as connection:
            rows = without(connection, whole, sorted(dropped), rest)
            if not rows:
                return None
            ids = ids_in(connection, rest)
        sums = sums_of(rest)
        left = file.model_copy(update={"first": ids[0], "last": ids[-1], "rows": rows})
        listed = _listed(left, sums.sha256, sums.size)
        etag = self.store.put_file(file_name(file.hour, listed), rest, sums, PARQUET_TYPE)
        return PlacedFile(hour=file.hour, file=listed.model_copy(update={"etag": etag}))

    def _identities(self, part: Part) -> list[str]:
        artifact = _artifact(part.ids)
        uri = self.store.uri(artifact.object_name)
        try:
            content, _ = self.store.read(artifact.object_name, MOST_IDS_BYTES)
        except Absent as error:
            raise Damaged(uri, "it is gone") from error
        if keys.sha256(content) != artifact.sha256:
            raise Damaged(uri, "its bytes are not those that its result names")
        return read_identities(content)


def place(store: Store, hour: Hour, file: NewFile) -> ListedFile:
    """Copy a file into an hour's folder, where it does not count yet; what the document is to say of it.

    Raises:
        Damaged: its artifact is gone or another.
    """
    artifact = _artifact(file.file)
    listed = _listed(file, artifact.sha256, artifact.bytes)
    etag = transfer.copy(store, artifact, file_name(hour, listed))
    return listed.model_copy(update={"etag": etag})


def _listed(file: NewFile, sha256: str, size: int) -> ListedFile:
    return ListedFile(
        type=file.type,
        stream=file.stream,
        name=f"{file.stream}_{file.first}_{file.last}_{sha256[:12]}.parquet",
        first=file.first,
        last=file.last,
        rows=file.rows,
        bytes=size,
        sha256=sha256,
        etag="",
        replaced=file.replaced,
    )


def _artifact(file: Path | Artifact) -> Artifact:
    if not isinstance(file, Artifact):
        raise TypeError(f"{file} is no artifact: only files in the bucket can count")
    return file


def _files(parts: Iterable[PartDocument]) -> dict[Hour, list[ListedFile]]:
    found: dict[Hour, list[ListedFile]] = {}
    for part in parts:
        for placed in part.files:
            found.setdefault(placed.hour, []).append(placed.file)
    return found


def _names(parts: Iterable[PartDocument]) -> dict[Hour, set[str]]:
    return {hour: {file.name for file in files} for hour, files in _files(parts).items()}
