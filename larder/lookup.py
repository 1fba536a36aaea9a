"""From a stage with its arguments to the address of its result, and to what is persisted there."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from larder import keys, results
from larder.artifacts import Artifact, Output, files_of
from larder.definition import Definition
from larder.fingerprint import Fingerprint
from larder.results import Persisted, Upstream
from larder.store import Absent, Damaged, Store

HEADS_AT_ONCE = 8


@dataclass(frozen=True)
class Address:
    """Where the result of one stage call lies, and all that the address was made of."""

    definition: Definition[Output]
    label: str | None
    folder: str
    object_name: str
    key: str
    fingerprint: Fingerprint
    arguments: Mapping[str, Any]
    """Each argument in the key, in the form in which it counts."""
    upstream: tuple[Upstream, ...]
    """The results among the arguments, as far as this run knows where they lie."""

    @property
    def name(self) -> str | None:
        """The label, where it counts."""
        return self.label if self.definition.label_in_key else None


def address_of(  # noqa: PLR0913, PLR0917
    definition: Definition[Output],
    label: str | None,
    arguments: Mapping[str, object],
    labels: Mapping[str, object],
    run_id: str,
    known: Mapping[str, Persisted],
) -> Address:
    """The address of a stage call's result.

    Args:
        arguments: of the function, without what the engine gives it
        labels: what the run is about
        run_id: counts where the result holds for one run alone
        known: the run's results so far, by digest

    Raises:
        NoKeyError: if an argument, or the stage's code, has no digest.
    """
    in_key = {name: value for name, value in arguments.items() if name not in definition.outside_key}
    fields = {**labels, **arguments, "label": label}
    folder = definition.fill(definition.folder, fields)
    title = definition.fill(definition.title, fields)
    name = label if definition.label_in_key else None
    counted = {name: keys.argument(value) for name, value in in_key.items()}
    if definition.once_per_run is not None and definition.once_per_run(arguments):
        counted["run"] = run_id
    key = keys.key(definition.stage, name, folder, definition.code.digest, counted)
    return Address(
        definition,
        label,
        folder,
        f"results/{folder}/{title}{f'-{name}' if name else ''}-{key[:16]}.json",
        key,
        definition.code,
        counted,
        tuple(_upstream(list(in_key.values()), known)),
    )


def _upstream(arguments: list[object], known: Mapping[str, Persisted]) -> Iterator[Upstream]:
    for output in keys.outputs(arguments):
        digest = keys.digest(output)
        if digest in known:
            yield Upstream(result=known[digest].object_name, digest=digest)


def look_up(store: Store, address: Address) -> Persisted:
    """The result at an address, if all of it is there.

    Raises:
        Absent: there is none.
        Damaged: it, or an artifact of it, is not whole.
        NewerFormat: a newer Larder made it.
        Unreachable: the store gave no clear answer.
    """
    persisted = read_at(store, address)
    verify_artifacts(store, persisted.value)
    return persisted


def read_at(store: Store, address: Address) -> Persisted:
    """The document at an address; its artifacts are not looked at.

    Raises:
        as `look_up`
    """
    persisted = results.read(store, address.object_name, address.definition.returns)
    if persisted.result.key != address.key:
        found = f"it holds another key, {persisted.result.key:.16}…"
        raise Damaged(store.uri(address.object_name), found, persisted.etag)
    return persisted


def verify_artifacts(store: Store, value: Output) -> None:
    """Return if each artifact of a value is there, with its size and ETag.

    Raises:
        Damaged: if one is not.
    """
    artifacts = {file.object_name: file for file in files_of(value) if isinstance(file, Artifact)}
    if len(artifacts) < 2:
        for artifact in artifacts.values():
            verify_artifact(store, artifact)
        return
    with ThreadPoolExecutor(min(HEADS_AT_ONCE, len(artifacts))) as threads:
        for _ in threads.map(lambda artifact: verify_artifact(store, artifact), artifacts.values()):
            pass


def verify_artifact(store: Store, artifact: Artifact) -> None:
    """Return if an artifact is there with its size and ETag; its bytes are not read unless the ETag differs.

    Raises:
        Damaged: if it is not, and what was found in its place.
    """
    uri = store.uri(artifact.object_name)
    try:
        stored = store.stat(artifact.object_name)
    except Absent as error:
        raise Damaged(uri, "it is gone") from error
    if stored.size != artifact.bytes:
        raise Damaged(uri, f"it has {stored.size} bytes, not {artifact.bytes}")
    if stored.etag != artifact.etag and store.digest_of(stored) != artifact.sha256:
        raise Damaged(uri, "its ETag changed: other bytes")
