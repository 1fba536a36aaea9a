"""Which messages of a stream are written: a document for every hour in which Redis took messages in."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from flows.stream_writer import documents
from flows.stream_writer.batch import Hour, Id, ListedFile
from flows.stream_writer.documents import Sealed
from flows.stream_writer.hours import ROOT
from flows.stream_writer.messages import hour_of, id_of, order, read_identities, time_of
from larder.artifacts import Frozen
from larder.store import Damaged, Store

FOLDER = f"{ROOT}_ledger/"


class LedgerDocument(Sealed):
    """The parts that are registered of one stream and hour. It only grows."""

    stream: str
    hour: Hour
    """In which Redis took the messages in."""
    parts: tuple[str, ...] = ()
    """`<first id>_<last id>_<digest>`"""

    def with_part(self, name: str) -> "LedgerDocument":
        """The same with one part more."""
        parts = sorted({*self.parts, name}, key=lambda part: (order(part.split("_")[0]), part))
        return self.model_copy(update={"parts": tuple(parts)})


class PlacedFile(Frozen):
    """A file of a part, and the hour of its events."""

    hour: Hour
    file: ListedFile


class PartDocument(Sealed):
    """One part: its messages, and the files that hold them. It never changes."""

    stream: str
    hour: Hour
    first: Id
    last: Id
    messages: int
    ids_sha256: str
    """Of the list of their identities, which lies beside it."""
    files: tuple[PlacedFile, ...]

    @property
    def name(self) -> str:
        """What the ledger calls it."""
        return f"{self.first}_{self.last}_{self.seal()[:12]}"


@dataclass(frozen=True)
class Coverage:
    """What of some messages is registered."""

    missing: frozenset[str]
    """Identities that no part holds."""
    parts: tuple[str, ...]
    """The names of the parts that hold the others."""


@dataclass(frozen=True)
class Ledger:
    """The ledger of one stream."""

    store: Store
    stream: str

    def name(self, hour: Hour) -> str:
        """The object that is the document of an hour."""
        return f"{self._folder(hour)}.json"

    def document(self, hour: Hour) -> LedgerDocument:
        """What is registered of an hour; an empty document where nothing is."""
        found = documents.read(self.store, self.name(hour), LedgerDocument)
        return found[0] if found else LedgerDocument(stream=self.stream, hour=hour)

    def part(self, hour: Hour, name: str) -> PartDocument:
        """A registered part.

        Raises:
            Damaged: it is gone, or not whole.
        """
        object_name = self._part_name(hour, name)
        found = documents.read(self.store, object_name, PartDocument)
        if found is None:
            raise Damaged(self.store.uri(object_name), f"{self.name(hour)} names it, and it is gone")
        return found[0]

    def coverage(self, document: LedgerDocument, identities: Iterable[str]) -> Coverage:
        """Which parts of a document hold these messages, all of its hour."""
        missing = set(identities)
        ordered = sorted(order(id_of(one)) for one in missing)
        holding = []
        for name in document.parts:
            if _may_hold(name, ordered):
                held = self._identities(document.hour, name)
                if not missing.isdisjoint(held):
                    missing.difference_update(held)
                    holding.append(name)
        return Coverage(frozenset(missing), tuple(holding))

    def unwritten(self, identities: Iterable[str]) -> set[str]:
        """Those of some messages that no part holds."""
        missing: set[str] = set()
        for hour, ours in by_hour(identities).items():
            missing |= self.coverage(self.document(hour), ours).missing
        return missing

    def unknown(self, ids: Iterable[Id]) -> list[Id]:
        """Those of some ids under which no part holds any message."""
        missing: list[Id] = []
        for hour, ours in by_hour(ids).items():
            ordered = sorted(map(order, ours))
            names = [name for name in self.document(hour).parts if _may_hold(name, ordered)]
            held = {id_of(one) for name in names for one in self._identities(hour, name)}
            missing += [id_ for id_ in ours if id_ not in held]
        return missing

    def hours(self, day: str) -> list[Hour]:
        """The hours of a day, `2026-01-31`, of which something is registered."""
        below = f"{FOLDER}{self.stream}/{day}/"
        names = [stored.name.removeprefix(below) for stored in self.store.below(below)]
        return [f"{day}T{name.removesuffix('.json')}" for name in names if "/" not in name]

    def keep(self, part: PartDocument, ids: bytes) -> None:
        """Put a part beside the document, which does not name it yet."""
        self.store.write(f"{self._folder(part.hour)}/{part.name}.ids.gz", ids, "application/gzip")
        self.store.write(self._part_name(part.hour, part.name), part.content(), documents.MEDIA_TYPE)

    def _identities(self, hour: Hour, name: str) -> list[str]:
        object_name = f"{self._folder(hour)}/{name}.ids.gz"
        content, _ = self.store.read(object_name, documents.MOST_BYTES)
        return read_identities(content)

    def _part_name(self, hour: Hour, name: str) -> str:
        return f"{self._folder(hour)}/{name}.json"

    def _folder(self, hour: Hour) -> str:
        return f"{FOLDER}{self.stream}/{hour[:10]}/{hour[11:]}"


def by_hour(identities: Iterable[str]) -> dict[Hour, list[str]]:
    """Identities or ids by the hour in which Redis took the messages in."""
    found: dict[Hour, list[str]] = {}
    for identity in identities:
        found.setdefault(hour_of(time_of(id_of(identity))), []).append(identity)
    return found


def _may_hold(name: str, ordered: Sequence[tuple[int, int]]) -> bool:
    first, last, _ = name.split("_")
    at = bisect_left(ordered, order(first))
    return at < len(ordered) and ordered[at] <= order(last)
