"""Persisted results as models: ask, look, write, compare.

The bucket is the only record of what is finished.
"""

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from larder import keys
from larder.artifacts import STORED, Artifact, Frozen, Output, files_of, media_type, replace_files
from larder.definition import Definition
from larder.store import Absent, Damaged, Store, StoreError, sums_of

MOST_BYTES = 16 * 2**20
"""A result is a small document. More is not one of ours."""
HEADS_AT_ONCE = 8


class Made(Frozen):
    """Who made a result, and when."""

    flow_run: str | None
    worker: str
    at: datetime
    seconds: float


class Upstream(Frozen):
    """A result that this one was made from."""

    result: str
    digest: str


class Shown(Frozen):
    """An argument as a result shows it: its digest, and its value if that is a scalar."""

    digest: str
    value: str | int | float | bool | None = None


class Result(Frozen):
    """What lies at a key: what a stage returned, and all that explains it."""

    larder: Literal[1] = 1
    stage: str
    name: str | None = None
    function: str
    """The stage's function, as `module.name`."""
    product: str | None = None
    version: str | None = None
    recipe_hash: str | None = None
    key: str
    digest: str
    fingerprint: keys.Fingerprint
    arguments: dict[str, Shown]
    upstream: tuple[Upstream, ...] = ()
    returned: dict[str, Any]
    artifacts: tuple[str, ...] = ()
    made: Made
    sha256: str = ""
    """Of the canonical JSON of all other fields."""

    def seal(self) -> str:
        """What `sha256` must be."""
        return keys.digest({**self.model_dump(mode="json"), "sha256": ""})


@dataclass(frozen=True)
class Question:
    """A stage with its arguments: which result would answer it."""

    definition: Definition[Output]
    label: str | None
    folder: str
    object_name: str
    key: str
    fingerprint: keys.Fingerprint
    arguments: Mapping[str, Any]
    """Each argument in the key, in the form in which it counts."""
    upstream: tuple[Upstream, ...]
    """The results among the arguments, as far as this run knows where they lie."""
    labels: Mapping[str, object]
    """What the run is about: product, version, recipe_hash."""

    @property
    def name(self) -> str | None:
        """The label, where it counts."""
        return self.label if self.definition.label_in_key else None


@dataclass(frozen=True)
class Found:
    """A whole result: its document, the value with its artifacts, and which version of the document it is."""

    result: Result
    value: Output
    object_name: str
    etag: str


def ask(
    definition: Definition[Output],
    label: str | None,
    arguments: Mapping[str, object],
    labels: Mapping[str, object],
    known: "Mapping[str, Found]",
) -> Question:
    """The question that a stage with these arguments asks the bucket.

    Args:
        labels: what the run is about
        known: the run's results so far, by digest

    Raises:
        NoKeyError: if an argument, or the stage's code, has no digest.
    """
    in_key = {name: value for name, value in arguments.items() if name not in definition.outside_key}
    fields = {**labels, **arguments, "label": label}
    folder = definition.fill(definition.folder, fields)
    title = definition.fill(definition.title, fields)
    name = label if definition.label_in_key else None
    fingerprint = _fingerprint(definition)
    counted = {name: keys.argument(value) for name, value in in_key.items()}
    key = keys.key(definition.stage, name, folder, fingerprint, counted)
    return Question(
        definition,
        label,
        folder,
        f"results/{folder}/{title}{f'-{name}' if name else ''}-{key[:16]}.json",
        key,
        fingerprint,
        counted,
        tuple(_upstream(list(in_key.values()), known)),
        dict(labels),
    )


def _upstream(arguments: list[object], known: "Mapping[str, Found]") -> Iterator[Upstream]:
    for output in keys.outputs(arguments):
        digest = keys.digest(output)
        if digest in known:
            yield Upstream(result=known[digest].object_name, digest=digest)


def look(store: Store, question: Question) -> Found:
    """The result that answers a question, if all of it is there.

    Raises:
        Absent: there is none.
        Damaged: it, or an artifact of it, is not whole.
        Unreachable: the store gave no clear answer.
    """
    found = _own(read(store, question.object_name, question.definition.returns), question, store)
    _check_artifacts(store, found)
    return found


def _own(found: Found, question: Question, store: Store) -> Found:
    if found.result.key != question.key:
        raise Damaged(store.uri(found.object_name), f"it holds another key, {found.result.key:.16}…")
    for file in files_of(found.value):
        if isinstance(file, Artifact) and not file.uri.startswith(store.uri("artifacts/")):
            raise Damaged(store.uri(found.object_name), f"it names a file outside the bucket, {file.uri}")
    return found


def read(store: Store, object_name: str, model: type[Output]) -> Found:
    """A result's document, read strictly; its artifacts are not looked at."""
    content, etag = store.read(object_name, MOST_BYTES)
    result, value = parse(store.uri(object_name), content, model)
    return Found(result, value, object_name, etag)


def function_of(uri: str, content: bytes) -> str:
    """The stage's function that a document names.

    Raises:
        Damaged: if it is not one of ours.
    """
    try:
        return Result.model_validate_json(content).function
    except (ValidationError, ValueError, RecursionError) as error:
        raise Damaged(uri, f"it is no result of ours ({_first_line(error)})") from error


def parse(uri: str, content: bytes, model: type[Output]) -> tuple[Result, Output]:
    """A document and the value in it: into these two models, and nothing else.

    Raises:
        Damaged: if it is not one of ours, or not as it was written.
    """
    try:
        result = Result.model_validate_json(content)
        value = model.model_validate(result.returned, context=STORED)
        seal, digest = result.seal(), keys.digest(value)
    except (ValidationError, ValueError, RecursionError) as error:
        raise Damaged(uri, f"it is no result of ours ({_first_line(error)})") from error
    if result.sha256 != seal:
        raise Damaged(uri, "its sha256 is not that of its content")
    if result.digest != digest:
        raise Damaged(uri, "its digest is not that of what the stage returned")
    return result, value


def _check_artifacts(store: Store, found: Found) -> None:
    artifacts = {file.uri: file for file in files_of(found.value) if isinstance(file, Artifact)}
    if len(artifacts) < 2:
        for artifact in artifacts.values():
            check_artifact(store, artifact)
        return
    with ThreadPoolExecutor(min(HEADS_AT_ONCE, len(artifacts))) as threads:
        for _ in threads.map(lambda artifact: check_artifact(store, artifact), artifacts.values()):
            pass


def check_artifact(store: Store, artifact: Artifact) -> None:
    """Return if an artifact is there with its size and ETag; its bytes are not read.

    Raises:
        Damaged: if it is not, and what was found in its place.
    """
    try:
        stored = store.stat(store.name(artifact.uri))
    except Absent as error:
        raise Damaged(artifact.uri, "it is gone") from error
    if stored.size != artifact.bytes:
        raise Damaged(artifact.uri, f"it has {stored.size} bytes, not {artifact.bytes}")
    if stored.etag != artifact.etag:
        raise Damaged(artifact.uri, "its ETag changed: other bytes")


def upload(store: Store, question: Question, value: Output, given: Mapping[Path, Artifact]) -> Output:
    """What a stage returned, with artifacts in place of paths; `given` says which there are already."""

    def put(file: Path | Artifact, rows: int | None) -> Artifact:
        if isinstance(file, Artifact):
            return file
        return given.get(file) or put_artifact(store, question.folder, file, rows)

    return replace_files(value, put)


def write(store: Store, question: Question, value: Output, made: Made) -> Found:
    """Write the document of a value whose files are in the store, and read it back."""
    result = Result(
        stage=question.definition.stage,
        name=question.name,
        function=question.definition.function_name,
        product=_label(question, "product"),
        version=_label(question, "version"),
        recipe_hash=_label(question, "recipe_hash"),
        key=question.key,
        digest=keys.digest(value),
        fingerprint=question.fingerprint,
        arguments={name: _shown(form) for name, form in question.arguments.items()},
        upstream=question.upstream,
        returned=value.model_dump(mode="json"),
        artifacts=tuple({file.uri: None for file in files_of(value) if isinstance(file, Artifact)}),
        made=made,
    )
    result = result.model_copy(update={"sha256": result.seal()})
    content = json.dumps(result.model_dump(mode="json"), indent=2, ensure_ascii=False).encode() + b"\n"
    if len(content) > MOST_BYTES:
        uri = store.uri(question.object_name)
        raise StoreError(uri, f"{uri} would have {len(content)} bytes; a result has at most {MOST_BYTES}.")
    store.write(question.object_name, content, "application/json", _gist(result, value))
    return _own(read(store, question.object_name, question.definition.returns), question, store)


def put_artifact(store: Store, folder: str, path: Path, rows: int | None) -> Artifact:
    """Upload one file under a name that carries its digest. What lies there already is overwritten."""
    sums = sums_of(path)
    name = f"artifacts/{folder}/{sums.sha256[:12]}-{path.name}"
    kind = media_type(path)
    etag = store.put_file(name, path, sums, kind)
    return Artifact(
        uri=store.uri(name), sha256=sums.sha256, bytes=sums.size, etag=etag, media_type=kind, rows=rows
    )


def fetch(store: Store, artifact: Artifact, path: Path) -> None:
    """Stream an artifact into a local file and verify its bytes.

    Raises:
        Damaged: if they are not there, or not those that its result names.
    """
    try:
        store.get_file(store.name(artifact.uri), path, artifact.sha256, artifact.bytes, artifact.etag)
    except Absent as error:
        raise Damaged(artifact.uri, "it is gone") from error


def set_aside(store: Store, object_name: str, etag: str | None = None) -> None:
    """Move a document to `damaged/`, unless it is no longer the one with this ETag.

    Call it with the lease of that object held.
    """
    try:
        stored = store.stat(object_name)
        if etag in (None, stored.etag):
            aside = f"damaged/{object_name}.{stored.etag.strip(chr(34))[:12]}"
            store.copy(object_name, aside, stored.etag, stored.size, "application/octet-stream")
            store.delete(object_name)
    except (Absent, Damaged):
        return


def reason(store: Store, question: Question) -> str:
    """Why a question has no answer yet: what differs from the newest result of the same stage and name."""
    title, _, _ = question.object_name.rpartition("-")
    pool = store.below(f"{title}-")
    if not pool and question.definition.labelled and not question.name:
        pool = store.below(f"{title.rpartition('/')[0]}/")
    pool.sort(key=lambda stored: (stored.modified, stored.name))
    for stored in reversed(pool[-3:]):
        try:
            content, _ = store.read(stored.name, MOST_BYTES)
            result = Result.model_validate_json(content)
        except (Absent, Damaged, ValidationError):
            continue
        if (result.function, result.name) == (question.definition.function_name, question.name):
            return "; ".join(_differences(result, question)) or "its result is gone"
    return "never built"


def damage(store: Store, damaged: Damaged) -> str:
    """Which object is not whole, and what was found."""
    kind = "result" if damaged.uri.startswith(store.uri("results/")) else "artifact"
    return f"{kind} {damaged.uri.removeprefix(store.uri(''))}: {damaged.found}"


def _differences(older: Result, question: Question) -> list[str]:
    before_modules, modules = older.fingerprint.modules, question.fingerprint.modules
    changed = [
        name for name in sorted({*before_modules, *modules}) if before_modules.get(name) != modules.get(name)
    ]
    said = [f"code of {', '.join(changed)} changed"] if changed else []
    for name, version in sorted(question.fingerprint.libraries.items()):
        if (before := older.fingerprint.libraries.get(name, "none")) != version:
            said.append(f"library {name} changed from {before} to {version}")
    for name, form in question.arguments.items():
        now, before_shown = _shown(form), older.arguments.get(name)
        if before_shown is None or before_shown.digest != now.digest:
            said.append(_change(name, before_shown, now))
    once = f"argument {question.definition.once_per_run} "
    others = [text for text in said if not text.startswith(once)]
    return others or (["a floating recipe is resolved by every run"] if said else [])


def _change(name: str, before: Shown | None, now: Shown) -> str:
    if before is not None and before.value is not None and now.value is not None:
        return f"argument {name} changed from {before.value} to {now.value}"
    return f"argument {name} changed"


def _shown(form: object) -> Shown:
    scalar = form if isinstance(form, str | int | float | bool) else None
    return Shown(digest=keys.digest(form), value=scalar)


def _fingerprint(definition: Definition[Output]) -> keys.Fingerprint:
    if definition.fingerprint is not None:
        return keys.Fingerprint(digest=definition.fingerprint)
    return keys.fingerprint(definition.function, definition.libraries)


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


def _label(question: Question, name: str) -> str | None:
    value = question.labels.get(name)
    return None if value is None else str(value)


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error).split("\n")[0]
