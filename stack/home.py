"""What a home holds: its mode, its ports, the file that its users read, its data."""

import fcntl
import os
import shlex
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from stack.steps import age

DATA = (
    *("store", "prefect", "prefect-alone", "log", "run", "runs", "scratch", "leases", "metrics", "tmp"),
    *("env", "mode", "workers", "ports.json", "lock"),
)
"""Everything below a home that the stack and its runs make."""


@dataclass(frozen=True)
class Home:
    """The folder of one local stack."""

    folder: Path

    @property
    def ports(self) -> Path:
        """The ports that were chosen."""
        return self.folder / "ports.json"

    @property
    def shown(self) -> str:
        """The folder, with size and age of what is in it."""
        files = [file for file in self.folder.rglob("*") if file.is_file() and not file.is_symlink()]
        size = sum(file.stat().st_size for file in files)
        oldest = min((file.stat().st_mtime for file in files), default=time.time())
        return f"{self.folder}: {size / 2**20:.1f} MiB, {age(datetime.fromtimestamp(oldest, UTC))} old"

    @property
    def mode(self) -> str | None:
        """How the stack that runs here was started; None after `down`."""
        try:
            return (self.folder / "mode").read_text().strip() or None
        except FileNotFoundError:
            return None

    def set_mode(self, mode: str | None) -> None:
        """Keeps the mode until the next `down`."""
        if mode is None:
            (self.folder / "mode").unlink(missing_ok=True)
        else:
            _replace(self.folder / "mode", mode + "\n", 0o644)

    @property
    def workers(self) -> int | None:
        """How many workers the setting asked for when the stack was started last."""
        try:
            return int((self.folder / "workers").read_text())
        except (OSError, ValueError):
            return None

    def set_workers(self, number: int) -> None:
        """Keeps what the setting asks for."""
        _replace(self.folder / "workers", f"{number}\n", 0o644)

    def write_environment(self, values: Mapping[str, str]) -> None:
        """Writes `env`, which a shell can source and every command reads."""
        lines = [f"export {name}={shlex.quote(value)}\n" for name, value in values.items()]
        _replace(self.folder / "env", "".join(lines), 0o600)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keeps other calls of setup for this home waiting."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print("waiting for another setup.sh of this home …", flush=True)
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def erase(self) -> None:
        """Removes what the stack made, and the folder if nothing else is in it."""
        for name in DATA:
            path = self.folder / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        if not any(self.folder.iterdir()):
            self.folder.rmdir()


def _replace(file: Path, text: str, permissions: int) -> None:
    written = file.with_name(file.name + ".new")
    written.unlink(missing_ok=True)
    descriptor = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, permissions)
    with os.fdopen(descriptor, "w") as output:
        output.write(text)
    written.replace(file)
