"""One stage call as it travels to where it is executed, and its execution there."""

import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from larder import keys, reasons, results, transfer
from larder.artifacts import Artifact, Output, files_of, replace_files
from larder.definition import GIVEN, Context, Definition
from larder.lookup import Address, read_at
from larder.results import Made, Persisted, Result
from larder.scratch import Scratch
from larder.settings import Settings
from larder.store import Store

Say = Callable[[str], None]


@dataclass(frozen=True)
class RunInfo:
    """Which run a call belongs to."""

    id: str
    attempt: int
    day: date


@dataclass(frozen=True)
class Call:
    """All that a stage call needs where it is executed; nothing of it is read from that process."""

    address: Address
    arguments: Mapping[str, object]
    run: RunInfo
    labels: Mapping[str, object]
    settings: Settings
    scratch: Path

    @property
    def definition(self) -> Definition[Output]:
        """The stage that is called."""
        return self.address.definition


def execute(call: Call, store: Store, scratch: Scratch, say: Say) -> Persisted:
    """Run the stage's function and persist what it returns.

    Raises:
        Damaged: an artifact among the arguments is not what its result says.
        StoreError: the store does not take the result.
        Exception: whatever the function raises.
    """
    began = time.monotonic()
    definition = call.definition
    folder = scratch.new_folder(definition.stage)
    wanted = [file for file in files_of(dict(call.arguments)) if isinstance(file, Artifact)]
    paths = scratch.fetch(store, wanted)
    given = {paths[artifact.object_name]: artifact for artifact in wanted}
    local = replace_files(
        dict(call.arguments),
        lambda file, _: paths[file.object_name] if isinstance(file, Artifact) else file,
    )
    local |= supplied(definition, context_of(call, store), {"scratch": folder, "say": say})
    value = definition.function(**local)
    _require_own(definition, value, folder, given)
    stored = transfer.upload_files(store, call.address.folder, value, given)
    for path, artifact in zip(files_of(value), files_of(stored), strict=True):
        if isinstance(path, Path) and isinstance(artifact, Artifact) and path not in given:
            scratch.keep(artifact, path)
    seconds = round(time.monotonic() - began, 3)
    made = Made(flow_run=call.run.id, worker=socket.gethostname(), at=datetime.now(UTC), seconds=seconds)
    results.write(store, call.address.object_name, _document(call, stored, made), stored)
    return read_at(store, call.address)


def context_of(call: Call, store: Store) -> Context:
    """What the engine knows where a call is executed."""
    return Context(call.settings, store, call.run.id, call.run.attempt, call.run.day, call.labels)


def supplied(
    definition: Definition[Output], context: Context, given: Mapping[str, object]
) -> dict[str, object]:
    """The arguments that the engine gives: the definition's, and of `given` what the function names."""
    named = definition.parameters
    made = {name: make(context) for name, make in definition.supplied.items() if name in named}
    return {**made, **{name: given[name] for name in GIVEN if name in named}}


def _require_own(
    definition: Definition[Output], value: object, folder: Path, given: Mapping[Path, Artifact]
) -> None:
    if not isinstance(value, definition.returns):
        raise TypeError(f"it returned {type(value).__name__}, not {definition.returns.__name__}")
    for file in files_of(value):
        if isinstance(file, Path) and file not in given and folder not in file.parents:
            raise ValueError(
                f"it returned {file}, which lies neither in its scratch folder nor among its inputs"
            )


def _document(call: Call, value: Output, made: Made) -> Result:
    address = call.address
    return Result(
        stage=call.definition.stage,
        name=address.name,
        function=call.definition.function_name,
        product=_label(call, "product"),
        version=_label(call, "version"),
        recipe_hash=_label(call, "recipe_hash"),
        key=address.key,
        digest=keys.digest(value),
        fingerprint=address.fingerprint,
        arguments={name: reasons.shown(form) for name, form in address.arguments.items()},
        upstream=address.upstream,
        returned=value.model_dump(mode="json"),
        artifacts=tuple({file.object_name: None for file in files_of(value) if isinstance(file, Artifact)}),
        made=made,
    )


def _label(call: Call, name: str) -> str | None:
    value = call.labels.get(name)
    return None if value is None else str(value)
