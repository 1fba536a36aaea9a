"""Which files beside a recipe are never carried away: secrets lie among them, and what programs made."""

import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

MADE_BY_PROGRAMS = frozenset({"__pycache__", "node_modules"})


class GitError(Exception):
    """Git does not say what it ignores."""


def never_taken(folder: Path, files: Iterable[Path], home: Path) -> dict[Path, str]:
    """Of these files below a folder those that are never taken, and why.

    Raises:
        GitError: the folder belongs to a checkout, and git does not say what it ignores there.
    """
    found = {file: why for file in files if (why := _own_reason(folder, file, home.resolve()))}
    ignored = _ignored_by_git(folder, [file for file in files if file not in found])
    return {**found, **dict.fromkeys(ignored, "git ignores it")}


def reasons(found: Mapping[Path, str], folder: Path) -> str:
    """Some of them, for people."""
    return ", ".join(f"{file.relative_to(folder)}: {why}" for file, why in sorted(found.items())[:3])


def _own_reason(folder: Path, file: Path, home: Path) -> str | None:
    for path in (file, file.resolve()):
        if path.is_relative_to(home):
            return "it lies below LARDER_HOME"
        parts = path.relative_to(folder).parts if path.is_relative_to(folder) else ()
        if any(part.startswith(".") for part in parts):
            return "it is hidden"
        if made := MADE_BY_PROGRAMS.intersection(parts):
            return f"it lies in {min(made)}"
    return None


def _ignored_by_git(folder: Path, files: list[Path]) -> list[Path]:
    if not files or not any((above / ".git").exists() for above in (folder, *folder.parents)):
        return []
    names = "\0".join(str(file.relative_to(folder)) for file in files)
    words = ["git", "-C", str(folder), "check-ignore", "-z", "--stdin"]
    try:
        done = subprocess.run(words, check=False, capture_output=True, input=names.encode())
    except FileNotFoundError as error:
        raise GitError("git is not installed") from error
    if done.returncode not in {0, 1}:
        raise GitError(done.stderr.decode(errors="replace").strip())
    return [folder / name for name in done.stdout.decode().split("\0") if name]
