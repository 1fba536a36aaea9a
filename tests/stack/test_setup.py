"""`setup.sh` before there is a stack: its words, its virtual environment, its processes."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from larder.settings import CHECKOUT
from stack.arguments import Arguments, UsageError, parse
from stack.daemon import Daemon, StartError, end_marked, marked, start_time
from stack.ports import free_ports, is_free, kept_ports

SETUP = CHECKOUT / "setup.sh"


def sleeper(home: Path, *command: str) -> Daemon:
    """A daemon that does nothing, or runs this command."""
    return Daemon("sleeper", command or ("sleep", "600"), {}, home, home, lambda: True)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "a home"
    folder.mkdir()
    yield folder
    end_marked(sleeper(folder).mark, seconds=1)


def await_ready(daemon: Daemon) -> None:
    """Waits until it has printed `ready`."""
    deadline = time.monotonic() + 10
    while "ready" not in daemon.log.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)


def marked_within(daemon: Daemon, seconds: float, count: int) -> list[int]:
    """What carries its mark, as soon as there are so many."""
    deadline = time.monotonic() + seconds
    while len(found := list(marked(daemon.mark))) < count and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", Arguments("start", None, False, ())),
        ("--local", Arguments("start", "local", False, ())),
        ("run", Arguments("run", None, False, ())),
        ("run other.yml", Arguments("run", None, False, ("other.yml",))),
        ("run --local other.yml", Arguments("run", "local", False, ("other.yml",))),
        ("--docker run other.yml", Arguments("run", "docker", False, ("other.yml",))),
        ("--volumes down", Arguments("down", None, True, ())),
        ("--yes down --volumes", Arguments("down", None, True, (), yes=True)),
        ("login", Arguments("login", None, False, ())),
        ("down --volumes --local", Arguments("down", "local", True, ())),
        ("test -k name -x --volumes", Arguments("test", None, False, ("-k", "name", "-x", "--volumes"))),
        ("--local test", Arguments("test", "local", False, ())),
        ("run test", Arguments("run", None, False, ("test",))),
        ("down --help", Arguments("help", None, False, ())),
    ],
)
def test_flags_may_stand_anywhere(words: str, expected: Arguments) -> None:
    assert parse(words.split()) == expected


@pytest.mark.parametrize(
    "words",
    [
        "start it",
        "build",
        "--force",
        "--local --docker",
        "run a.yml b.yml",
        "--volumes",
        "down --yes",
        "down x",
        "--vol down",
    ],
)
def test_unknown_words_are_refused_before_anything_is_installed(words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        parse(words.split())
    copy = checkout_copy(tmp_path)
    done = subprocess.run([copy / "setup.sh", *words.split()], check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "usage: ./setup.sh" in done.stderr
    assert not (copy / ".venv").exists()


def test_help_through_a_link_from_another_folder_with_spaces(tmp_path: Path) -> None:
    copy = checkout_copy(tmp_path)
    (tmp_path / "else where").mkdir()
    link = tmp_path / "else where" / "larder setup"
    link.symlink_to(Path("..") / copy.name / "setup.sh")
    done = subprocess.run([link, "--help"], check=True, capture_output=True, text=True, cwd="/")
    assert "./setup.sh down [--volumes" in done.stdout


def test_a_path_without_python_says_what_to_install(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("bash", "env", "dirname", "cat", "readlink"):
        (programs / name).symlink_to(shutil.which(name) or name)
    done = subprocess.run(
        [SETUP, "--help"], check=False, capture_output=True, text=True, env={"PATH": str(programs)}
    )
    assert done.returncode != 0
    assert "apt-get install python3" in done.stderr


def checkout_copy(folder: Path) -> Path:
    """A checkout in a folder with a space, with a lock of one package, whose `stack` says that it ran."""
    copy = folder / "check out"
    (copy / "stack").mkdir(parents=True)
    shutil.copy(SETUP, copy)
    for name in ("__init__.py", "arguments.py", "bootstrap.py"):
        shutil.copy(CHECKOUT / "stack" / name, copy / "stack")
    (copy / "stack" / "__main__.py").write_text("import sys\nprint('went on with', sys.argv[1:])\n")
    lock = (CHECKOUT / "requirements.lock").read_text()
    entry = lock[lock.index("\nsetuptools==") :]
    end = next(at for at, line in enumerate(entry.splitlines()[2:], 2) if not line.startswith("    "))
    (copy / "requirements.lock").write_text("\n".join(entry.splitlines()[:end]) + "\n")
    (copy / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "copied"\nversion = "1"\n[tool.setuptools]\npackages = ["stack"]\n'
    )
    return copy


def setup(copy: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """One call of a copy's `setup.sh`."""
    environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    return subprocess.run(
        [copy / "setup.sh", *words], check=False, capture_output=True, text=True, env=environment
    )


def test_the_environment_is_made_once_and_again_when_the_lock_changed(tmp_path: Path) -> None:
    copy = checkout_copy(tmp_path)
    first, second = setup(copy, "--local"), setup(copy)
    assert first.returncode == 0, first.stderr
    assert "installed" in first.stdout
    assert "went on with ['--local']" in first.stdout
    assert second.stdout == "went on with []\n"
    with (copy / "requirements.lock").open("a") as lock:
        lock.write("# changed\n")
    assert "installed" in setup(copy).stdout
    assert setup(copy).stdout == "went on with []\n"


def test_an_interrupted_installation_is_done_again_from_the_beginning(tmp_path: Path) -> None:
    copy = checkout_copy(tmp_path)
    setup(copy)
    (copy / ".venv" / ".larder-unfinished").touch()
    half = copy / ".venv" / "half"
    half.touch()
    assert "installed" in setup(copy).stdout
    assert not half.exists()


def test_a_moved_checkout_gets_a_new_environment(tmp_path: Path) -> None:
    copy = checkout_copy(tmp_path)
    setup(copy)
    moved = copy.rename(tmp_path / "moved")
    done = setup(moved)
    assert done.returncode == 0, done.stderr
    assert "installed" in done.stdout
    assert setup(moved).stdout == "went on with []\n"


def test_concurrent_calls_install_once(tmp_path: Path) -> None:
    copy = checkout_copy(tmp_path)
    calls = [subprocess.Popen([copy / "setup.sh"], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    outputs = [call.communicate()[0] for call in calls]
    assert [call.returncode for call in calls] == [0, 0, 0]
    assert sum("installed (" in output for output in outputs) == 1
    assert all("went on with []" in output for output in outputs)


def test_a_failing_installation_names_its_log_and_is_not_taken_for_done(tmp_path: Path) -> None:
    copy = checkout_copy(tmp_path)
    (copy / "requirements.lock").write_text("no-such-package-of-ours==1 --hash=sha256:" + "0" * 64 + "\n")
    for _ in range(2):
        done = setup(copy)
        assert done.returncode == 1
        assert str(copy / ".venv.log") in done.stderr
        assert "went on" not in done.stdout


def test_a_daemon_is_found_again_and_ended(home: Path) -> None:
    sleeper(home).start()
    pid = sleeper(home).pid
    assert pid
    assert sleeper(home).is_current()
    assert not sleeper(home, "sleep", "601").is_current()
    assert sleeper(home).stop(5)
    assert start_time(pid) is None
    assert sleeper(home).pid is None
    assert not sleeper(home).stop(5)


def test_a_recycled_pid_is_never_touched(home: Path) -> None:
    stranger = subprocess.Popen(["sleep", "600"])
    try:
        daemon = sleeper(home)
        daemon.start()
        daemon.stop(5)
        daemon.record.write_text(json.dumps({"pid": stranger.pid, "started": "another boot 12345"}))
        assert daemon.pid is None
        assert not daemon.stop(5)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x"}', "{}"])
def test_a_damaged_pid_file_means_not_running(text: str, home: Path) -> None:
    daemon = sleeper(home)
    daemon.start()
    pid = daemon.pid
    daemon.record.write_text(text)
    assert daemon.pid is None
    assert not daemon.is_current()
    assert marked_within(daemon, 10, count=1) == [pid]


def test_what_a_killed_daemon_left_behind_is_found_by_its_mark(home: Path) -> None:
    daemon = sleeper(home, "sh", "-c", "setsid sh -c 'echo ready; exec sleep 600' & wait")
    daemon.start()
    await_ready(daemon)
    daemon.stop(5)
    assert end_marked(daemon.mark, 5) == 1
    assert not list(marked(daemon.mark))


def test_a_daemon_that_ignores_the_request_to_end_is_killed(home: Path) -> None:
    daemon = sleeper(home, sys.executable, "-c", IGNORES_TERM)
    daemon.start()
    await_ready(daemon)
    pid = daemon.pid
    assert pid
    daemon.stop(0.5)
    assert start_time(pid) is None


IGNORES_TERM = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(600)
"""


def test_a_daemon_that_ends_at_once_says_why(home: Path) -> None:
    daemon = Daemon("broken", ("sh", "-c", "echo no such disk; exit 3"), {}, home, home, lambda: False)
    daemon.start()
    with pytest.raises(StartError, match=r"(?s)broken ended while it was starting.*no such disk") as caught:
        daemon.wait(10)
    assert str(daemon.log) in str(caught.value)


def test_ports_are_kept_and_a_taken_one_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "ports.json"
    first = kept_ports(file, ["s3", "server"])
    assert kept_ports(file, ["s3", "server"]) == first
    with socket.create_server(("127.0.0.1", first["s3"])):
        assert not is_free(first["s3"])
        assert kept_ports(file, ["s3", "server"], in_use=["s3"]) == first
        second = kept_ports(file, ["s3", "server"])
    assert second["s3"] != first["s3"]
    assert second["server"] == first["server"]
    assert len(set(free_ports(20))) == 20
