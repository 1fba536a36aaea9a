"""What commands of recipes must not do, tried: read secrets, change inputs, outlive, fill and flood."""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from pydantic import SecretStr

from flows.build.recipe.schema import ConnectorArg
from flows.build.stages.running import CommandError
from flows.build.stages.surroundings import Surroundings
from flows.tables import confinement
from flows.tables.bounds import Bounds
from flows.tables.folders import below, pack
from flows.tables.table import Table
from larder.settings import CHECKOUT
from tests.flows.build.conftest import Run, until_gone, until_there

closes_files = pytest.mark.skipif(
    confinement.abi() < confinement.FILES_ABI, reason="the kernel has no Landlock to confine commands"
)
closes_signals = pytest.mark.skipif(
    confinement.abi() < confinement.SCOPES_ABI, reason="the kernel's Landlock does not close signals"
)
linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process can leave its group for good")

SECRET = "s3cret"
READS = """
import os
def tried(path):
    try:
        return open(path, "rb").read(10000)
    except OSError as error:
        return error
def main():
    for path in os.environ["WANTED"].split():
        print("tried", path, tried(path), flush=True)
"""
ATTACHES = """
import ctypes, os
def main():
    libc, other = ctypes.CDLL(None, use_errno=True), int(os.environ["OTHER"])
    print("attached", libc.ptrace(16, other, None, None), os.strerror(ctypes.get_errno()))
    for number in (0, 15, 9):
        try:
            os.kill(other, number)
            print("signalled", number)
        except PermissionError:
            print("kept")
"""
NESTS = """
import os
def main():
    for _ in range(30):
        os.mkdir("n" * 200)
        os.chdir("n" * 200)
"""


@pytest.fixture
def other() -> Iterator[int]:
    """Another process of this user, with a secret in its environment."""
    environment = {"LARDER_S3_SECRET_ACCESS_KEY": SECRET}
    with subprocess.Popen(["/bin/sleep", "600"], env=environment) as process:
        yield process.pid
        process.kill()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home of Larder with a secret in its `env`."""
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "env").write_text(f"export LARDER_S3_SECRET_ACCESS_KEY={SECRET}\n")
    return folder


@pytest.fixture
def steps(tmp_path: Path) -> Path:
    """The files of a recipe: modules that try this and that."""
    folder = tmp_path / "files"
    folder.mkdir()
    for name, text in {"reads": READS, "attaches": ATTACHES, "nests": NESTS}.items():
        (folder / f"{name}.py").write_text(text)
    return pack(folder, below(folder), tmp_path / "files.tar")


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """An input, as the engine gives it."""
    file = tmp_path / "a.parquet"
    duckdb.sql(f"copy (select 1 as n) to '{file}'")
    file.chmod(0o444)
    return Table(file=file, rows=1, columns=())


ATTEMPTS = {
    "shell": ("shell", 'for path in $WANTED; do echo "tried $path $(cat $path 2>&1)"; done'),
    "python": ("python", "reads"),
    "grandchild": ("shell", "sh -c 'python -c \"import reads; reads.main()\"'"),
    "session": ("shell", "setsid -w sh -c 'python -c \"import reads; reads.main()\"'"),
}


@closes_files
@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_secrets_of_the_worker_cannot_be_read(
    run: Run, other: int, home: Path, steps: Path, attempt: str
) -> None:
    kind, text = ATTEMPTS[attempt]
    wanted = [f"/proc/{other}/environ", str(home / "env"), f"/proc/{other}/root{home}/env"]
    given = {"env": {"WANTED": " ".join(wanted)}, "before": steps, "kind": kind}
    ran = run(text, **given, surroundings=Surroundings(hidden=(home,)))
    assert sum(line.startswith("tried") for line in ran.said) == len(wanted)
    assert not [line for line in ran.said if SECRET in line]
    unconfined = run(text, **given, surroundings=Surroundings(abi=0, programs=os.environ["PATH"]))
    found = sum(SECRET in line for line in unconfined.said)
    assert found == len(wanted) if os.geteuid() else found


@closes_files
def test_nothing_is_written_but_its_own_folder(run: Run, tmp_path: Path) -> None:
    ran = run(
        f"for path in {tmp_path}/x /tmp/larder-x $LARDER_INPUT_DIR/x ../../x; do\n"
        "  (echo > $path) 2> /dev/null || echo kept\n"
        "done\n"
        f"ln -s {tmp_path} link\n"
        f"for path in {tmp_path} link/; do ls $path 2> /dev/null || echo unseen; done\n"
        "echo > mine; echo > $HOME/mine; mktemp > /dev/null; cat mine > /dev/null; echo $(whoami | wc -l)"
    )
    assert ran.said == ["kept"] * 4 + ["unseen"] * 2 + ["1"]


@closes_signals
def test_no_process_of_others_is_traced_or_signalled(run: Run, other: int, steps: Path) -> None:
    ran = run("attaches", kind="python", env={"OTHER": str(other)}, before=steps)
    assert ran.said == ["attached -1 Operation not permitted", "kept", "kept", "kept"]
    run("kill -9 -1 || true")
    assert Path(f"/proc/{other}/cmdline").read_bytes()


@linux
@pytest.mark.parametrize("abi", [0, confinement.abi()])
def test_who_kills_its_supervisor_leaves_nothing(run: Run, abi: int) -> None:
    marker = f"larder-kills-{os.getpid()}"
    text = f"setsid sh -c ': {marker}; sleep 600; :' & kill -9 $PPID 2> /dev/null && sleep 600; echo kept"
    if abi < confinement.SCOPES_ABI:
        with pytest.raises(CommandError, match="killed the process that watched over it"):
            run(text, surroundings=Surroundings(abi=abi))
    else:
        assert run(text).said == ["kept"]
    until_gone(marker)


RUNS = """
import sys
from pathlib import Path
from flows.build.stages.running import Program, run_program
from flows.build.stages.surroundings import Surroundings
from flows.tables.supervision import Limits
room = Path(sys.argv[1])
program = Program("c", ("sh", "-c", sys.argv[2]), {"PATH": "/usr/bin:/bin"}, room, room, ())
run_program(program, Surroundings(), Limits(grace_seconds=0.2), print)
"""


@linux
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_nothing_outlives_the_process_group_of_the_build(number: int, tmp_path: Path) -> None:
    marker = f"larder-outlives-{os.getpid()}-{number}"
    stays = f"trap '' TERM HUP; : {marker}; sleep 600; :"
    text = f"(setsid sh -c {shlex.quote(stays)} &); {stays}"
    words = [sys.executable, "-c", RUNS, str(tmp_path), text]
    with subprocess.Popen(words, cwd=CHECKOUT, start_new_session=True) as build:
        until_there(marker, times=3)
        os.killpg(build.pid, number)
        build.wait()
    until_gone(marker)


@linux
@pytest.mark.parametrize("abi", [0, confinement.abi()])
def test_inputs_stay_as_they_are(run: Run, table: Table, abi: int) -> None:
    file = Path(str(table.file))
    before = file.read_bytes()
    text = (
        "cd $LARDER_INPUT_DIR; chmod u+w . a.parquet; (echo other > a.parquet) || echo kept; "
        "rm -f a.parquet || echo kept; "
        "python -c 'import os; os.truncate(\"a.parquet\", 0)' || echo kept"
    )
    said = run(text, tables={"a": table}, surroundings=Surroundings(abi=abi)).said
    if abi >= confinement.TRUNCATE_ABI:
        assert said.count("kept") == 3
        assert "a, an input, had its permissions changed, which is undone" in said
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (before, 0o444)


def test_only_allowed_variables_reach_a_command(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LARDER_S3_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("WAREHOUSE_PASSWORD", SECRET)
    monkeypatch.setenv("TZ", "America/New_York")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    said = run("env", env={"LARDER_VERSION": "25Q1"}).said
    assert {"LARDER_VERSION=25Q1", "TZ=UTC", "LC_ALL=C.UTF-8", "LANG=C.UTF-8"} <= set(said)
    assert not [line for line in said if SECRET in line]
    argument = ConnectorArg.model_validate({"name": "password", "value_from": {"env": "WAREHOUSE_PASSWORD"}})
    with pytest.raises(
        CommandError, match=r"WAREHOUSE_PASSWORD.* not allowed there by LARDER_RECIPE_SECRETS"
    ):
        run("env", connector_args=(argument,))
    allowed = Surroundings(secrets={"WAREHOUSE_PASSWORD": SecretStr("hush")})
    assert "hush" not in repr(allowed)
    assert (
        "LARDER_CONNECTOR_PASSWORD=hush" in run("env", connector_args=(argument,), surroundings=allowed).said
    )


def rest(run: Run, tmp_path: Path) -> list[str]:
    """What the last command left in its scratch folder."""
    return [
        path.name for path in below(max(tmp_path.glob("scratch-*"), key=lambda path: path.stat().st_ctime))
    ]


FILLS = {
    "many files": "i=0; while :; do i=$((i+1)); head -c 300000 /dev/zero > f$i; done",
    "one file": "head -c 100000000 /dev/zero > f",
    "its home": "cd $HOME; while :; do head -c 300000 /dev/zero >> f$((i=i+1)); done",
    "a deleted file": (
        'for at in 3 4 5 6; do eval "exec $at> f"; rm f; head -c 1500000 /dev/zero >&$at; done; sleep 600'
    ),
    "files without content": "mkdir d; cd d; i=0; while :; do i=$((i+1)); : > f$i; done",
}


@linux
@pytest.mark.parametrize("way", FILLS)
def test_who_fills_the_disk_fails_by_itself_and_leaves_nothing(run: Run, tmp_path: Path, way: str) -> None:
    with pytest.raises(
        CommandError, match=r"filled [\d,]+ bytes of disk, and 2,000,000 are allowed"
    ) as caught:
        run(FILLS[way], limit_bytes=2_000_000)
    assert "`limit_bytes` of the recipe, at most LARDER_STAGE_BYTES" in str(caught.value)
    assert rest(run, tmp_path) == ["inputs"]


def test_a_recipe_cannot_ask_for_more_than_the_operator_allows(run: Run) -> None:
    with pytest.raises(CommandError, match="and 1,000,000 are allowed"):
        run("head -c 5000000 /dev/zero > f", limit_bytes=10**9, bounds=Bounds(stage_bytes=10**6))
    with pytest.raises(CommandError, match=r"took longer than 0\.5 seconds .*LARDER_STAGE_SECONDS"):
        run("sleep 600", limit=3600, bounds=Bounds(stage_seconds=0.5))


def test_the_last_of_the_disk_is_kept(run: Run) -> None:
    with pytest.raises(CommandError, match="LARDER_KEEP_FREE_BYTES"):
        run("sleep 600", bounds=Bounds(keep_free_bytes=2**60))


@linux
@pytest.mark.parametrize("text", ["nests", "mkdir closed; chmod 0 closed; sleep 1"])
def test_folders_that_cannot_be_measured_end_a_command(
    run: Run, steps: Path, tmp_path: Path, text: str
) -> None:
    if os.geteuid() == 0 and "closed" in text:
        pytest.skip("root looks into every folder")
    kind = "python" if text == "nests" else "shell"
    with pytest.raises(CommandError, match="cannot be measured"):
        run(text, kind=kind, before=steps, limit_bytes=10**8)
    assert rest(run, tmp_path) == ["inputs"]


@linux
@pytest.mark.parametrize("abi", [0, confinement.abi()])
def test_who_forks_without_end_meets_a_limit(run: Run, abi: int) -> None:
    marker = f"larder-bomb-{os.getpid()}"
    with pytest.raises(
        CommandError, match=r"processes and threads at once, and 60 are allowed .LARDER_STAGE_PROC"
    ):
        run(
            f": {marker}; for number in $(seq 300); do sleep 600 & done; wait",
            bounds=Bounds(stage_processes=60),
            surroundings=Surroundings(abi=abi),
        )
    until_gone(marker)


@linux
def test_who_takes_all_memory_is_ended(run: Run) -> None:
    greedy = "python -c \"kept = b'x' * 150_000_000; import time; time.sleep(600)\""
    with pytest.raises(
        CommandError, match=r"took [\d,]+ bytes of memory, and 90,000,000 are .*LARDER_MEMORY_BYTES"
    ):
        run(greedy, bounds=Bounds(memory_bytes=90_000_000))


@linux
def test_shared_memory_is_given_back(run: Run) -> None:
    name = f"larder-{os.getpid()}"
    run(f"echo left > /dev/shm/{name}; python -c 'import multiprocessing; multiprocessing.Lock()'")
    assert not Path("/dev/shm", name).exists()


def test_a_promise_is_kept_by_a_file_of_its_own(run: Run, table: Table) -> None:
    for text in (
        f"ln -s {table.file} $LARDER_OUTPUT_DIR/t.parquet",
        f"rmdir $LARDER_OUTPUT_DIR; ln -s {Path(str(table.file)).parent} larder_output",
    ):
        with pytest.raises(CommandError, match=r"was to write \$LARDER_OUTPUT_DIR/(t|a).parquet"):
            run(text, promised=("a" if "rmdir" in text else "t",))


def test_commands_are_refused_where_they_have_to_be_confined_and_cannot_be(run: Run) -> None:
    with pytest.raises(CommandError, match="no Landlock to confine it, and LARDER_CONFINE is `required`"):
        run("echo ran", surroundings=Surroundings(abi=0, must_be_confined=True))


def test_what_stays_open_is_said(run: Run) -> None:
    said = run("true", surroundings=Surroundings(abi=0)).said
    assert "they can read and change what the worker can, and end its processes" in said[0]
