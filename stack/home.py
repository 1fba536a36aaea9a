"""What a home holds: its mode, its ports, the file that its users read, its data."""

import fcntl
import os
import shlex
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

DATA = ("store", "prefect", "log", "run", "scratch", "leases", "tmp", "env", "mode", "ports.json", "lock")
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
