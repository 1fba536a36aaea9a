"""The folder of one run on this machine: what stages write, and what was fetched for them."""

import hashlib
import os
import shutil
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from larder import transfer
from larder.artifacts import Artifact
from larder.keepers import FileKeeper
from larder.settings import Settings
from larder.store import Store

FETCHES_AT_ONCE = 4


@dataclass
class Scratch:
    """One run's folder. Several processes of one machine may use it at once."""

    folder: Path
    fetching: dict[str, threading.Lock] = field(default_factory=dict)
    guard: threading.Lock = field(default_factory=threading.Lock)

    def new_folder(self, name: str) -> Path:
        """An empty folder."""
        folder = self.folder / f"{name}-{uuid4().hex[:8]}"
        folder.mkdir(parents=True)
        return folder

    def fetch(self, store: Store, artifacts: Iterable[Artifact]) -> dict[str, Path]:
        """Read-only local files of artifacts, by object name; what lies here already is not fetched again.

        Raises:
            Damaged: if the bytes of one are not what its result says.
        """
        wanted = {artifact.object_name: artifact for artifact in artifacts}
        if not wanted:
            return {}
        with ThreadPoolExecutor(min(FETCHES_AT_ONCE, len(wanted))) as threads:
            paths = threads.map(lambda artifact: self._fetch(store, artifact), wanted.values())
            return dict(zip(wanted, paths, strict=True))

    def keep(self, artifact: Artifact, path: Path) -> None:
        """Let later stages of this run on this machine have a file that became an artifact."""
        path.chmod(0o444)
        place = self._place(artifact)
        place.parent.mkdir(parents=True, exist_ok=True)
        aside = place.with_name(f".{uuid4().hex}")
        os.link(path, aside)
        aside.replace(place)

    def _fetch(self, store: Store, artifact: Artifact) -> Path:
        place = self._place(artifact)
        with self.guard:
            lock = self.fetching.setdefault(artifact.object_name, threading.Lock())
        with lock:
            if not place.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                aside = place.with_name(f".{uuid4().hex}")
                try:
                    transfer.fetch(store, artifact, aside)
                    aside.chmod(0o444)
                    aside.replace(place)
                finally:
                    aside.unlink(missing_ok=True)
        return place

    def _place(self, artifact: Artifact) -> Path:
        named = hashlib.sha256(f"{artifact.object_name}\n{artifact.sha256}".encode()).hexdigest()
        return self.folder / "fetched" / named[:16] / artifact.name


@contextmanager
def scratch_of(run_id: str, settings: Settings) -> Iterator[Scratch]:
    """The scratch folder of a run, which is gone afterwards; so are those of runs whose process is gone."""
    keeper = FileKeeper(settings.home / "leases" / "scratch")
    settings.scratch.mkdir(parents=True, exist_ok=True)
    _sweep(settings.scratch, keeper)
    name, holder = run_id, uuid4().hex
    if not keeper.take(name, holder):
        name = f"{run_id}-{holder[:8]}"
        keeper.take(name, holder)
    folder = settings.scratch / name
    folder.mkdir()
    try:
        yield Scratch(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        keeper.give(name, holder)


def _sweep(scratch: Path, keeper: FileKeeper) -> None:
    for folder in scratch.iterdir():
        holder = uuid4().hex
        if keeper.take(folder.name, holder):
            shutil.rmtree(folder, ignore_errors=True)
            keeper.give(folder.name, holder)
