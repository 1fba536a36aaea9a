"""Makes `.venv` what `requirements.lock` says, then goes on in it. Imports the standard library alone."""

import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from stack.arguments import USAGE, UsageError, parse

CHECKOUT = Path(__file__).resolve().parent.parent
VENV = CHECKOUT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / ".larder.json"
UNFINISHED = VENV / ".larder-unfinished"
NO_VENV = """\
This Python ({python}) cannot make a virtual environment. Install what is missing with
  Debian, Ubuntu   apt-get install python3-venv
  Fedora           dnf install python3 python3-pip
or install uv (https://docs.astral.sh/uv), and run setup.sh again."""


class InstallError(RuntimeError):
    """The virtual environment could not be made."""


def main() -> NoReturn:
    """What `setup.sh` calls: checks the words, installs where needed, and becomes `python -m stack`."""
    try:
        arguments = parse(sys.argv[1:])
    except UsageError as error:
        sys.exit(_say(f"setup.sh: {error}\n\n{USAGE}", 2))
    if arguments.command == "help":
        print(USAGE)
        sys.exit(0)
    if arguments.command in {"down", "login"} and not PYTHON.exists():
        sys.exit(_say("Nothing was ever started from this checkout: there is no .venv.", 0))
    try:
        install()
    except (InstallError, OSError) as error:
        sys.exit(_say(f"setup.sh: {error}", 1))
    os.execv(PYTHON, [str(PYTHON), "-P", "-m", "stack", *sys.argv[1:]])  # noqa: S606


def install() -> None:
    """Makes the virtual environment current; does nothing where it is.

    Raises:
        InstallError: it cannot be made; says what to do.
    """
    wanted = _wanted()
    if _installed() == wanted:
        return
    with _alone():
        if _installed() == wanted:
            return
        began = time.monotonic()
        print("installing the locked dependencies into .venv …", flush=True)
        _make(wanted)
        print(f"installed ({time.monotonic() - began:.0f} s)", flush=True)


def _make(wanted: dict[str, str]) -> None:
    moved = (_installed() or wanted)["checkout"] != wanted["checkout"]
    if VENV.exists() and (UNFINISHED.exists() or moved or not _works()):
        shutil.rmtree(VENV)
    found = shutil.which("uv")
    if not VENV.exists():
        _create(found)
    UNFINISHED.touch()
    lock = CHECKOUT / "requirements.lock"
    installer = _installer(Path(found) if found else _locked_uv(lock))
    _run("installing requirements.lock", [*installer, "--require-hashes", "--requirement", str(lock)])
    project = ["--no-deps", "--no-build-isolation", "--editable", str(CHECKOUT)]
    _run("installing larder", [*installer, *project])
    STAMP.write_text(json.dumps(wanted))
    UNFINISHED.unlink()


def _create(uv: str | None) -> None:
    if uv:
        _run("making .venv", [uv, "venv", "--quiet", "--no-project", "--python", sys.executable, str(VENV)])
    elif importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip"):
        _run("making .venv", [sys.executable, "-m", "venv", str(VENV)])
    else:
        raise InstallError(NO_VENV.format(python=sys.executable))


def _installer(uv: Path | None) -> list[str]:
    if uv:
        return [str(uv), "pip", "install", "--quiet", "--python", str(PYTHON)]
    pip = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    return [*pip, "--root-user-action=ignore"]


def _locked_uv(lock: Path) -> Path | None:
    """The `uv` of the lock, put into .venv first: it installs the rest in seconds. None if there is none."""
    if not _has_pip():
        _run("adding pip to .venv", [str(PYTHON), "-m", "ensurepip"])
    program = PYTHON.with_name("uv")
    wanted = re.search(r"^uv==(?:.*\\\n)*.*$", lock.read_text(), re.MULTILINE)
    if wanted is None:
        return None
    alone = VENV / "uv.lock"
    alone.write_text(wanted.group() + "\n")
    with contextlib.suppress(InstallError):
        _run("installing uv", [*_installer(None), "--require-hashes", "--requirement", str(alone)])
    return program if program.exists() else None


def _has_pip() -> bool:
    command = [str(PYTHON), "-c", "import pip"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def _run(what: str, command: list[str]) -> None:
    log = VENV.with_name(".venv.log")
    with log.open("wb") as output:
        done = subprocess.run(
            command, check=False, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
    if done.returncode != 0:
        last = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
        raise InstallError(f"{what} failed (exit {done.returncode}). The log is {log}; it ends with:\n{last}")
    log.unlink()


def _works() -> bool:
    check = "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))"
    try:
        return subprocess.run([PYTHON, "-c", check], check=False, capture_output=True).returncode == 0
    except OSError:
        return False


def _wanted() -> dict[str, str]:
    names = ("requirements.lock", "pyproject.toml")
    digests = {name: hashlib.sha256((CHECKOUT / name).read_bytes()).hexdigest() for name in names}
    return {"checkout": str(CHECKOUT), **digests}


def _installed() -> dict[str, str] | None:
    try:
        return None if UNFINISHED.exists() or not PYTHON.exists() else dict(json.loads(STAMP.read_text()))
    except (OSError, ValueError):
        return None


@contextmanager
def _alone() -> Iterator[None]:
    descriptor = os.open(CHECKOUT, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another setup.sh that is installing …", flush=True)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _say(message: str, code: int) -> int:
    print(message, file=sys.stderr)
    return code
