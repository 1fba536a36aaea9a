"""Commands of recipes: what they see, what they leave, what runs again, and how they are ended."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from flows.build.recipe.schema import Command, CommandType, ConnectorArg
from flows.build.stages.command import CommandError, command
from flows.tables.folders import below, pack, unpack
from tests.explained import explained
from tests.processes import building
from tests.recipes import REAL, Product
from tests.wholeness import assert_whole

pytestmark = pytest.mark.usefixtures("quick")

COPY = "import duckdb, os\ndef {name}():\n    duckdb.sql({query!r}.format(**os.environ))\n"
FIRST = "copy (from '{LARDER_INPUT_DIR}/a.parquet') to 'first.parquet' (format parquet)"
LAST = (
    "copy (select *, '{WHO}' as who, '{LARDER_VERSION}' as version from 'first.parquet') "
    "to '{LARDER_OUTPUT_DIR}/made.parquet' (format parquet)"
)


@pytest.fixture
def commanded(product: Product) -> Product:
    """A product of three commands: python, shell, python; with a file that they use."""
    product.kind = REAL
    (product.folder / "mine").mkdir()
    (product.folder / "mine" / "steps.py").write_text(
        COPY.format(name="first", query=FIRST) + COPY.format(name="main", query=LAST)
    )
    product.recipe["env"] = {"WHO": "recipe", "ONLY": "recipe"}
    product.recipe["stage_config"] = {
        "builds.build": {
            "env": {"WHO": "stage"},
            "files": ["mine/**"],
            "tables": ["made"],
            "commands": [
                {"name": "first", "run": "mine.steps:first", "command_type": "python"},
                {"name": "middle", "run": "test $WHO$ONLY = stagerecipe\necho said by $WHO\nls > listed"},
                {"name": "last", "run": "mine.steps", "command_type": "python", "env": {"WHO": "command"}},
            ],
        }
    }
    product.recipe["exports"] = {"datasets": [{"name": "made", "format": "csv"}]}
    return product


def commands(product: Product) -> list[dict[str, object]]:
    found: list[dict[str, object]] = product.recipe["stage_config"]["builds.build"]["commands"]
    return found


def outcomes(product: Product) -> dict[str, str]:
    """What became of each command, and of the stages behind them."""
    return {
        name.removeprefix("command "): outcome
        for name, outcome in product.last.outcomes.items()
        if name.startswith("command ") or name in {"build", "package"}
    }


REUSED = dict.fromkeys(("first", "middle", "last", "build", "package"), "reused")


@pytest.mark.parametrize(("key", "value"), [("id", "zzz"), ("version", "99"), ("files", ["theirs/**"])])
def test_a_refused_recipe_leaves_none_of_its_files(commanded: Product, key: str, value: object) -> None:
    build = commanded.recipe["stage_config"]["builds.build"]
    (build if key == "files" else commanded.inputs[0])[key] = value
    answer = commanded.build()
    assert (answer.exit_code, answer.document["state"]) == (2, "refused"), answer.said
    assert commanded.bucket.names() == []


def test_commands_run_in_order_in_the_folder_that_the_one_before_left(commanded: Product) -> None:
    answer = commanded.build()
    assert answer.exit_code == 0, answer.said
    assert commanded.published[
        "made.csv"
    ] == b'id,a,who,version\n1,one,command,25Q1\n2,"",command,25Q1\n' or (
        commanded.published["made.csv"] == b"id,a,who,version\n1,one,command,25Q1\n2,,command,25Q1\n"
    )
    assert_whole(commanded.bucket, "thing", "25Q1")
    commanded.build()
    assert outcomes(commanded) == REUSED


def test_a_changed_command_runs_again_with_those_behind_it(commanded: Product) -> None:
    commanded.build()
    commands(commanded)[1]["run"] = "ls -a > listed"
    commanded.build()
    assert outcomes(commanded) == {
        "first": "reused",
        "middle": "executed",
        "last": "executed",
        "build": "reused",
        "package": "reused",
    }
    commands(commanded)[2]["limit_seconds"] = 300
    commanded.build()
    assert outcomes(commanded) == REUSED


def test_a_changed_file_runs_the_commands_again(commanded: Product) -> None:
    commanded.build()
    os.utime(commanded.folder / "mine" / "steps.py", (0, 0))
    commanded.build()
    assert outcomes(commanded) == REUSED
    (commanded.folder / "mine" / "more.txt").write_text("more")
    commanded.build()
    assert outcomes(commanded) == {**REUSED, **dict.fromkeys(("first", "middle", "last"), "executed")}


def test_a_failed_command_is_gone_on_from(commanded: Product) -> None:
    commands(commanded)[1]["run"] = "echo before; echo wrong >&2; exit 3"
    answer = commanded.build()
    assert answer.exit_code == 1
    message = answer.document["error"]["message"]
    for said in ("middle", "exit code 3", "before", "wrong"):
        assert said in message
    assert outcomes(commanded) == {"first": "executed", "middle": "failed"}
    commands(commanded)[1]["run"] = "ls > listed"
    commanded.build()
    assert outcomes(commanded) == {**dict.fromkeys(REUSED, "executed"), "first": "reused"}


def test_explain_knows_of_commands_and_files(commanded: Product) -> None:
    def said() -> dict[str, str]:
        return {one.title: one.will for one in explained(commanded.read, commanded.folder)}

    commanded.build()
    assert set(said().values()) == {"reuse"} | {"run"}
    assert {title for title, will in said().items() if will == "run"} == {"plan"}
    commands(commanded)[1]["run"] = "ls -a > listed"
    found = said()
    assert (found["command first"], found["command middle"], found["command last"]) == (
        "reuse",
        "run",
        "unknown",
    )
    assert found["build"] == "unknown"


def test_the_release_before_is_told(commanded: Product) -> None:
    commands(commanded)[1]["run"] = 'test "${LARDER_VERSION_PREV:-none}" = "${VERSION_PREV:-none}"'
    assert commanded.build().exit_code == 0, commanded.last.said
    commanded.recipe["version"] = "25Q2"
    answer = commanded.build()
    assert answer.exit_code == 0, answer.said
    assert b"VERSION_PREV: 25Q1" in commanded.published["recipe.lock.yml"]
    again = commanded.build("--locked")
    assert again.exit_code == 0, again.said
    assert outcomes(commanded) == REUSED


def test_what_commands_print_goes_to_the_log_line_by_line(
    commanded: Product, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="prefect.flow_runs"):
        commanded.build()
    assert "middle: said by stage" in [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("at", [1, 2])
def test_a_killed_build_redoes_only_the_command_that_ran(product: Product, at: int) -> None:
    marker = f"larder-{os.getpid()}-{at}"
    product.kind = REAL
    listed = [{"name": f"c{number}", "run": f"echo {number} > c{number}"} for number in range(3)]
    product.recipe["stage_config"] = {"builds.build": {"commands": listed}}
    quick, listed[at]["run"] = listed[at]["run"], f": {marker}; sleep 600; true"
    with building(product.read) as killed:
        killed.until(f"command c{at}", "running")
        until_there(marker)
        killed.process.kill()
        killed.process.join()
    until_gone(marker)
    listed[at]["run"] = quick
    answer = product.build()
    assert answer.exit_code == 0, answer.said
    found = [outcomes(product)[f"c{number}"] for number in range(3)]
    assert found == ["reused"] * at + ["executed"] * (3 - at)


def processes(marker: str) -> list[int]:
    """Those whose command line holds a text."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if marker.encode() in file.read_bytes():
                found.append(int(file.parent.name))
        except OSError:
            continue
    return found


def until_there(marker: str) -> None:
    deadline = time.monotonic() + 30
    while not processes(marker):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def until_gone(marker: str) -> None:
    deadline = time.monotonic() + 30
    while processes(marker):
        assert time.monotonic() < deadline, processes(marker)
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("parts", "place", "found"),
    [
        ({"files": ["nothing/**"], "commands": [{"name": "c", "run": "true"}]}, "files[0]", "matches none"),
        ({"files": ["mine/**"]}, "files", "commands that use them"),
        ({"tables": ["made"]}, "tables", "commands that write them"),
        (
            {"commands": [{"name": "c", "run": "a b", "command_type": "python"}]},
            "commands[0].run",
            "module:function, or module",
        ),
        (
            {"commands": [{"name": "c", "run": "true"}], "tables": ["m"], "models": {"m": "from a"}},
            "tables",
            "a model is called too",
        ),
    ],
)
def test_what_is_refused(product: Product, parts: dict[str, object], place: str, found: str) -> None:
    product.kind = REAL
    product.recipe["stage_config"] = {"builds.build": parts}
    product.recipe["exports"] = {}
    answer = product.build()
    assert answer.exit_code == 2, answer.document
    for part in (f"stage_config.builds.build.{place}", found):
        assert part in answer.document["error"]["message"]
    assert not product.bucket.names()


Run = Callable[..., object]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs one command; what it said, line by line, and what it left."""

    def run_command(text: str, *, kind: str = "shell", limit: float | None = None, **given: object) -> object:
        said: list[str] = []
        scratch = tmp_path / f"scratch-{len(list(tmp_path.iterdir()))}"
        scratch.mkdir()
        definition = Command(name="c", run=text, command_type=CommandType(kind))
        whole: dict[str, object] = {
            "env": {},
            "connector_args": (),
            "before": None,
            "tables": {},
            "promised": (),
            **given,
        }
        command(definition, **whole, limit_seconds=limit, say=said.append, scratch=scratch)  # type: ignore[arg-type]
        return said

    return run_command


def test_a_command_sees_nothing_of_ours_that_is_secret(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LARDER_S3_SECRET_ACCESS_KEY", "s3cret")
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "s3cret")
    monkeypatch.setenv("WAREHOUSE_PASSWORD", "s3cret")
    said = run("env", env={"LARDER_VERSION": "25Q1"})
    assert "LARDER_VERSION=25Q1" in said  # type: ignore[operator]
    assert not [line for line in said if "s3cret" in line]  # type: ignore[attr-defined]
    argument = ConnectorArg.model_validate({"name": "password", "value_from": {"env": "WAREHOUSE_PASSWORD"}})
    assert "LARDER_CONNECTOR_PASSWORD=s3cret" in run("env", connector_args=(argument,))  # type: ignore[operator]
    monkeypatch.delenv("WAREHOUSE_PASSWORD")
    with pytest.raises(CommandError, match="WAREHOUSE_PASSWORD, which is not set where the build runs"):
        run("env", connector_args=(argument,))


def test_a_command_that_is_not_there_is_told(run: Run) -> None:
    with pytest.raises(CommandError, match=r"exit code 127 \(not found"):
        run("no-such-program --at-all")


def test_a_python_command_that_raises_shows_where(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "steps.py").write_text("def main():\n    raise ValueError('of all things')\n")
    before = pack(tmp_path, below(tmp_path / "mine"), tmp_path / "before.tar")
    with pytest.raises(CommandError, match="ValueError: of all things"):
        run("mine.steps", kind="python", before=before)


def test_a_broken_promise_is_told(run: Run) -> None:
    with pytest.raises(CommandError, match=r"to write \$LARDER_OUTPUT_DIR/t.parquet, and wrote u"):
        run("touch $LARDER_OUTPUT_DIR/u.parquet", promised=("t",))
    with pytest.raises(CommandError, match="which is no Parquet"):
        run("echo > $LARDER_OUTPUT_DIR/t.parquet", promised=("t",))


def test_a_promise_is_broken_where_the_folder_is_gone(run: Run) -> None:
    with pytest.raises(CommandError, match=r"LARDER_OUTPUT_DIR/t\.parquet, and wrote nothing"):
        run("rm -r $LARDER_OUTPUT_DIR", promised=("t",))


def test_a_time_limit_ends_the_whole_group_even_if_it_does_not_listen(run: Run) -> None:
    marker = f"larder-deaf-{os.getpid()}"
    began = time.monotonic()
    with pytest.raises(CommandError, match="took longer than 1 seconds and was ended"):
        run(f"trap '' TERM; (trap '' TERM; : {marker}; sleep 300; sleep 300) & wait", limit=1)
    assert time.monotonic() - began < 60
    until_gone(marker)


def test_what_a_command_leaves_running_is_ended(run: Run) -> None:
    marker = f"larder-left-{os.getpid()}"
    run(f"(: {marker}; sleep 300; sleep 300) > /dev/null 2>&1 & echo started")
    until_gone(marker)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process can leave its group for good")
@pytest.mark.parametrize("limit", [None, 1])
def test_what_left_the_group_is_ended_too(run: Run, limit: float | None) -> None:
    marker = f"larder-apart-{os.getpid()}"
    left = f"setsid sh -c ': {marker}; sleep 300; sleep 300' &"
    began = time.monotonic()
    if limit:
        with pytest.raises(CommandError, match="took longer than 1 seconds"):
            run(f"{left} sleep 300", limit=limit)
    else:
        run(f"{left} sleep 1; echo done")
    assert time.monotonic() - began < 60
    until_gone(marker)


def test_links_of_a_folder_stay_relative_or_are_left_out(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "text").write_text("text")
    (folder / "link").symlink_to(folder / "text")
    (folder / "loop").symlink_to("loop")
    unpack(pack(folder, below(folder), tmp_path / "links.tar"), tmp_path / "back")
    assert sorted(path.name for path in below(tmp_path / "back")) == ["link", "text"]
    assert (tmp_path / "back" / "link").read_text() == "text"
    assert (tmp_path / "back" / "link").readlink() == Path("text")


def test_files_that_are_links_are_carried_with_their_content_or_refused(commanded: Product) -> None:
    mine = commanded.folder / "mine"
    (mine / "steps.py").rename(mine / "real.py")
    (mine / "steps.py").symlink_to("real.py")
    commanded.recipe["stage_config"]["builds.build"]["files"] = ["mine/steps.py"]
    assert commanded.build().exit_code == 0, commanded.last.said
    (mine / "steps.py").unlink()
    (commanded.folder.parent / "theirs.py").write_text("")
    (mine / "steps.py").symlink_to(commanded.folder.parent / "theirs.py")
    assert commanded.build().exit_code == 2
    assert "mine/steps.py, a link to" in commanded.last.document["error"]["message"]


def test_a_folder_comes_back_as_it_was_and_its_bytes_depend_on_content_alone(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "deep" / "empty").mkdir(parents=True)
    (folder / "deep" / "run.sh").write_text("#!/bin/sh\n")
    (folder / "deep" / "run.sh").chmod(0o711)
    (folder / "text").write_text("ä" * 10)
    (folder / "link").symlink_to("text")
    (folder / "away").symlink_to("/etc/passwd")
    first = pack(folder, below(folder), tmp_path / "first.tar").read_bytes()
    for path in below(folder):
        os.utime(path, (1, 1), follow_symlinks=False)
    assert pack(folder, below(folder), tmp_path / "second.tar").read_bytes() == first
    unpack(tmp_path / "first.tar", tmp_path / "back")
    back = {str(path.relative_to(tmp_path / "back")) for path in below(tmp_path / "back")}
    assert back == {"deep", "deep/empty", "deep/run.sh", "text", "link"}
    assert (tmp_path / "back" / "deep" / "run.sh").stat().st_mode & 0o100
    assert (tmp_path / "back" / "link").read_text() == "ä" * 10
    assert pack(tmp_path / "back", below(tmp_path / "back"), tmp_path / "third.tar").read_bytes() == first


def test_a_supervisor_whose_parent_is_killed_ends_its_group(tmp_path: Path) -> None:
    from flows.build.stages import supervise

    marker = f"larder-orphan-{os.getpid()}"
    words = [sys.executable, "-I", supervise.__file__, "0.5", "sh", "-c", f": {marker}; sleep 300; sleep 300"]
    parent = (
        f"import subprocess, sys, time; subprocess.Popen({words!r}, stdin=subprocess.PIPE); time.sleep(300)"
    )
    process = subprocess.Popen([sys.executable, "-c", parent])
    until_there(marker)
    process.send_signal(signal.SIGKILL)
    process.wait()
    until_gone(marker)


def test_files_have_a_time_that_a_zip_file_can_hold(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "before"
    (folder / "attachments").mkdir(parents=True)
    (folder / "attachments" / "note.txt").write_text("made before")
    before = pack(folder, below(folder), tmp_path / "before.tar")
    zipping = (
        "import shutil, zipfile\n"
        "with zipfile.ZipFile('out.zip', 'w') as file:\n"
        "    file.write('attachments')\n"
        "    file.write('attachments/note.txt')\n"
        "print(shutil.make_archive('all', 'zip', 'attachments'))\n"
        "print(zipfile.ZipFile('out.zip').infolist()[1].date_time[0])\n"
    )
    for zone in ("UTC", "Pacific/Honolulu", "Etc/GMT+12", "Pacific/Kiritimati"):
        said = run(f'"{sys.executable}" -c "{zipping}"', before=before, env={"TZ": zone})
        assert said[-1] == "1980"  # type: ignore[index]


def test_many_updates_of_one_line_are_one_line(run: Run) -> None:
    printing = "for n in range(200_000): print(f'row {n}', end=chr(13))"
    begun = time.monotonic()
    assert run(f'"{sys.executable}" -c "{printing}"; echo; echo done') == ["row 199999", "done"]
    assert time.monotonic() - begun < 20


def test_a_promised_table_has_its_rows(run: Run, tmp_path: Path) -> None:
    duckdb.sql(f"copy (select range as n from range(3)) to '{tmp_path}/t.parquet'")
    assert run(f"cp {tmp_path}/t.parquet $LARDER_OUTPUT_DIR/; echo done", promised=("t",)) == ["done"]
