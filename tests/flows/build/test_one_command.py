"""What commands see, what they leave, and how they are ended."""

import os
import shlex
import sys
import time
from pathlib import Path

import pytest

from flows.build.stages.running import CommandError
from flows.tables.folders import below, pack, unpack
from tests.flows.build.conftest import Run, until_gone


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


def test_a_promised_table_has_its_rows(run: Run) -> None:
    made = "import duckdb; duckdb.sql(\"copy (from range(3)) to 'larder_output/t.parquet'\")"
    ran = run(f"python -c {shlex.quote(made)}; echo done", promised=("t",))
    assert (ran.said, ran.tables["t"].rows) == (["done"], 3)
