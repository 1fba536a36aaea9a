"""A persisted result: the document that lies at a key, and its verbs. The bucket is the only record."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from larder import keys
from larder.artifacts import STORED, Artifact, Frozen, Output, files_of
from larder.fingerprint import Fingerprint
from larder.store import Absent, Damaged, Store, StoreError

FORMAT = 2
"""The number of the newest document format that this Larder knows."""
MOST_BYTES = 16 * 2**20
"""A result is a small document. More is not one of ours."""


class NewerFormat(StoreError):  # noqa: N818
    """A document was made by a newer Larder. It is neither moved nor overwritten."""

    def __init__(self, uri: str, number: int) -> None:
        super().__init__(
            uri,
            f"{uri} was made by a newer Larder (format {number}; this one knows {FORMAT}). "
            "Update Larder here, or build with the newer one.",
        )
        self.number = number

    def __reduce__(self) -> tuple[type["NewerFormat"], tuple[str, int]]:
        return NewerFormat, (self.uri, self.number)


class Made(Frozen):
    """Who made a result, and when."""

    flow_run: str | None
    worker: str
    at: datetime
    seconds: float


class Upstream(Frozen):
    """A result that this one was made from."""

    result: str
    """Its object name."""
    digest: str


class ShownArgument(Frozen):
    """An argument as a result shows it: its digest, and its value if that is a scalar, else its parts."""

    digest: str
    value: str | int | float | bool | None = None
    parts: dict[str, str] | None = None
    """The beginning of the digest of each field and item in it, by its place."""


class Result(Frozen):
    """What lies at a key: what a stage returned, and all that explains it."""

    larder: int = FORMAT
    stage: str
    name: str | None = None
    function: str
    """The stage's function, as `module.name`."""
    product: str | None = None
    version: str | None = None
    recipe_hash: str | None = None
    key: str
    digest: str
    fingerprint: Fingerprint
    arguments: dict[str, ShownArgument]
    upstream: tuple[Upstream, ...] = ()
    returned: dict[str, Any]
    artifacts: tuple[str, ...] = ()
    """Their object names."""
    made: Made
    sha256: str = ""
    """Of the canonical JSON of all other fields."""

    def seal(self) -> str:
        """What `sha256` must be."""
        return keys.digest({**self.model_dump(mode="json"), "sha256": ""})


@dataclass(frozen=True)
class Persisted:
    """A whole result: its document, the value with its artifacts, and which version of the document it is."""

    result: Result
    value: Output
    object_name: str
    etag: str


def read(store: Store, object_name: str, model: type[Output]) -> Persisted:
    """Read a result's document strictly; its artifacts are not looked at.

    Raises:
        Absent, Damaged, NewerFormat: it is not there, not whole, or not for this Larder.
    """
    content, etag = store.read(object_name, MOST_BYTES)
    try:
        result, value = parse(store.uri(object_name), content, model)
    except Damaged as damage:
        raise Damaged(damage.uri, damage.found, etag) from damage
    return Persisted(result, value, object_name, etag)


def parse(uri: str, content: bytes, model: type[Output]) -> tuple[Result, Output]:
    """Read a document and the value in it into these two models, and into nothing else.

    Raises:
        Damaged: if it is not one of ours, or not as it was written.
        NewerFormat: if a newer Larder made it.
    """
    result = read_document(uri, content)
    try:
        value = model.model_validate(result.returned, context=STORED)
        seal, digest = result.seal(), keys.digest(value)
    except (ValidationError, ValueError, RecursionError) as error:
        raise Damaged(uri, f"it is no result of ours ({_first_line(error)})") from error
    if result.sha256 != seal:
        raise Damaged(uri, "its sha256 is not that of its content")
    if result.digest != digest:
        raise Damaged(uri, "its digest is not that of what the stage returned")
    return result, value


def read_document(uri: str, content: bytes) -> Result:
    """Read a document without the value in it.

    Raises:
        Damaged: if it is not one of ours.
        NewerFormat: if a newer Larder made it.
    """
    try:
        return Result.model_validate_json(content)
    except (ValidationError, ValueError, RecursionError) as error:
        if (number := _format(content)) > FORMAT:
            raise NewerFormat(uri, number) from error
        raise Damaged(uri, f"it is no result of ours ({_first_line(error)})") from error


def write(store: Store, object_name: str, result: Result, value: Output) -> Persisted:
    """Write the document of a value whose files are in the store, and read it back.

    Raises:
        StoreError: it would be larger than a result may be, or does not come back as it was written.
    """
    result = result.model_copy(update={"sha256": result.seal()})
    content = json.dumps(result.model_dump(mode="json"), indent=2, ensure_ascii=False).encode() + b"\n"
    if len(content) > MOST_BYTES:
        uri = store.uri(object_name)
        raise StoreError(uri, f"{uri} would have {len(content)} bytes; a result has at most {MOST_BYTES}.")
    store.write(object_name, content, "application/json", _gist(result, value))
    back = read(store, object_name, type(value))
    if back.result != result:
        raise Damaged(store.uri(object_name), "it is not what was just written")
    return back


def set_aside(store: Store, object_name: str, etag: str) -> bool:
    """Move a document to `damaged/` if it is still the one with this ETag; whether it was moved.

    Call it with the lease of that object held.
    """
    try:
        stored = store.stat(object_name)
        if stored.etag != etag:
            return False
        aside = f"damaged/{object_name}.{stored.etag.strip(chr(34))[:12]}"
        store.copy(object_name, aside, stored.etag, stored.size, "application/octet-stream")
        store.delete(object_name)
    except (Absent, Damaged):
        return False
    return True


def _format(content: bytes) -> int:
    try:
        number = json.loads(content)["larder"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return 0
    return number if isinstance(number, int) else 0


def _gist(result: Result, value: Output) -> dict[str, str]:
    rows = [file.rows for file in files_of(value) if isinstance(file, Artifact) and file.rows is not None]
    gist = {
        "stage": result.stage,
        "product": result.product,
        "version": result.version,
        "rows": str(sum(rows)) if rows else None,
        "made-at": result.made.at.isoformat(timespec="seconds"),
        "recipe-hash": result.recipe_hash,
    }
    return {name: text for name, text in gist.items() if text is not None}


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error).split("\n")[0]
