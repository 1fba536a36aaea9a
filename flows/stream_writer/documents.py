"""Sealed documents in the bucket, changed by compare and swap."""

import json
from collections.abc import Callable
from typing import Literal, Self, TypeVar

from pydantic import ValidationError

from larder import keys
from larder.artifacts import Frozen
from larder.store import Absent, Damaged, Store

MOST_BYTES = 64 * 2**20
MEDIA_TYPE = "application/json"


class Sealed(Frozen):
    """A document that tells whether it is whole. It holds no time and no run."""

    larder: Literal[1] = 1
    sha256: str = ""
    """Of the canonical JSON of all other fields."""

    def seal(self) -> str:
        """What `sha256` must be."""
        return keys.digest({**self.model_dump(mode="json"), "sha256": ""})

    def sealed(self) -> Self:
        """The same with its seal."""
        return self.model_copy(update={"sha256": self.seal()})

    def content(self) -> bytes:
        """Its bytes, sealed."""
        return (
            json.dumps(self.sealed().model_dump(mode="json"), indent=1, ensure_ascii=False).encode() + b"\n"
        )


Document = TypeVar("Document", bound=Sealed)


def read(store: Store, name: str, model: type[Document]) -> tuple[Document, str] | None:
    """A document and its ETag; None where there is none.

    Raises:
        Damaged: it is no such document, or not whole.
    """
    try:
        content, etag = store.read(name, MOST_BYTES)
    except Absent:
        return None
    try:
        document = model.model_validate_json(content)
        seal = document.seal()
    except (ValidationError, ValueError, RecursionError) as error:
        raise Damaged(store.uri(name), f"it is no {model.__name__} of ours") from error
    if document.sha256 != seal:
        raise Damaged(store.uri(name), "its sha256 is not that of its content")
    return document, etag


def revise(store: Store, name: str, empty: Document, change: Callable[[Document], Document]) -> Document:
    """Make a document what `change` says of it, and return it.

    `change` is asked again where somebody else was faster: it sees what is there then. Where the store did
    not answer, and had written nevertheless, it sees its own change.
    """
    while True:
        found = read(store, name, type(empty))
        now, etag = found or (empty, None)
        changed = change(now)
        if changed == now:
            return now
        changed = changed.sealed()
        if swap(store, name, changed.content(), etag):
            return changed


def swap(store: Store, name: str, content: bytes, etag: str | None) -> bool:
    """Write an object if it still has this ETag, or, for None, is not there yet; whether it was written."""
    condition = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}
    try:
        store.ask(
            name,
            lambda: store.client.put_object(
                Bucket=store.bucket, Key=name, Body=content, ContentType=MEDIA_TYPE, **condition
            ),
        )
    except (Absent, Damaged):
        return False
    return True
