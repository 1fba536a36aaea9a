"""A large artifact handed from one stage to the next, beside s5cmd and beside stock Prefect."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.table import Row, timed

GIGABYTE = 2**30
ROUNDS = 3
MOST_MEGABYTES = 300
PIPELINE = """
import os, resource
from pathlib import Path
from larder.artifacts import File, Output
from larder.definition import Definition
from larder.pipeline import pipeline
from larder.stage import stage

class Table(Output):
    file: File

class Size(Output):
    size: int

def load(file: str, turn: str, scratch: Path) -> Table:
    os.link(file, scratch / "table.parquet")
    return Table(file=scratch / "table.parquet")

def build(table: Table, turn: str, scratch: Path) -> Size:
    return Size(size=table.file.stat().st_size)

loaded = stage(Definition("load", load, "bench", fingerprint="load"))
built = stage(Definition("build", build, "bench", fingerprint="build"))

@pipeline
def handoff(file: str, turn: str, build_turn: str, both: bool):
    table = loaded(file, turn)
    return built(table, build_turn) if both else table

def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
handoff(SMALL, "small" + TURN, "small" + TURN, True)
idle = peak()
os.sync()
began = time.monotonic()
handoff(FILE, TURN, BUILD_TURN, BOTH)
tell([time.monotonic() - began, peak() - idle])
"""
STOCK = """
import os, resource
from prefect import flow, task
from prefect.cache_policies import INPUTS

@task(persist_result=True, result_storage="s3-bucket/larder-results", cache_policy=INPUTS)
def load(file, turn):
    return open(file, "rb").read()

@task(persist_result=True, result_storage="s3-bucket/larder-results", cache_policy=INPUTS)
def build(table, turn):
    return len(table)

@flow
def handoff(file, turn, both):
    table = load(file, turn)
    return build(table, turn) if both else None

def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
handoff(SMALL, "small" + TURN, True)
idle = peak()
os.sync()
began = time.monotonic()
handoff(FILE, TURN, BOTH)
tell([time.monotonic() - began, peak() - idle])
"""


def rows(measure: Callable[[dict[str, str], str], Any], home: Path) -> list[Row]:
    """Within one process, and from one process to another."""
    file, small = home / "table", home / "small"
    small.write_bytes(b"small")
    _fill(file)
    found: dict[str, list[Any]] = {"raw": [], "one": [], "two": []}
    for turn in range(ROUNDS):
        given = f"FILE, SMALL, TURN = {str(file)!r}, {str(small)!r}, 'turn{turn}'\n"
        found["raw"].append(_s5cmd(file, turn))
        found["one"].append(measure({}, f"{given}BUILD_TURN, BOTH = 'one{turn}', True\n{PIPELINE}"))
        given = given.replace("'turn", "'other")
        put = measure({}, f"{given}BUILD_TURN, BOTH = 'two{turn}', False\n{PIPELINE}")
        got = measure({}, f"{given}BUILD_TURN, BOTH = 'two{turn}', True\n{PIPELINE}")
        found["two"].append([put[0] + got[0], max(put[1], got[1])])
    given = f"FILE, SMALL, TURN = {str(file)!r}, {str(small)!r}, 'stock'\n"
    put = measure({}, f"{given}BOTH = False\n{STOCK}")
    got = measure({}, f"{given}BOTH = True\n{STOCK}")
    return [
        _time("1 GiB from load to build within one process; s5cmd put and get", found, "one"),
        _time("1 GiB from one process to another; s5cmd put and get", found, "two"),
        _memory(found),
        Row(
            "for the record: 1 GiB as a stock task's result, one process to another",
            f"{_median(found['two']):.1f} s",
            f"{put[0] + got[0]:.1f} s, {max(put[1], got[1]):,.0f} MB over idle",
            _median(found["two"]) / (put[0] + got[0]),
        ),
    ]


def _time(what: str, found: dict[str, list[Any]], which: str) -> Row:
    return timed(what, [seconds for seconds, _ in found[which]], found["raw"], 1.5)


def _memory(found: dict[str, list[Any]]) -> Row:
    most = max(megabytes for _, megabytes in [*found["one"], *found["two"]])
    return Row(
        "peak memory of these over idle", f"{most:.0f} MB", f"{MOST_MEGABYTES} MB", most / MOST_MEGABYTES, 1.0
    )


def _median(found: list[Any]) -> float:
    return float(sorted(seconds for seconds, _ in found)[len(found) // 2])


def _fill(file: Path) -> None:
    with file.open("wb") as content:
        for _ in range(GIGABYTE // 2**24):
            content.write(os.urandom(2**24))


def s5cmd(source: str, target: str) -> float:
    """Copy a file into the bucket or out of it; the seconds that it took."""
    environment = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": os.environ["LARDER_S3_ACCESS_KEY_ID"],
        "AWS_SECRET_ACCESS_KEY": os.environ["LARDER_S3_SECRET_ACCESS_KEY"],
    }
    program = str(Path(sys.executable).with_name("s5cmd"))
    endpoint = ("--endpoint-url", os.environ["LARDER_S3_ENDPOINT_URL"])
    os.sync()
    began = time.monotonic()
    subprocess.run(
        [program, *endpoint, "cp", source, target], check=True, env=environment, capture_output=True
    )
    return time.monotonic() - began


def _s5cmd(file: Path, turn: int) -> float:
    there, back = f"s3://{os.environ['LARDER_BUCKET']}/raw/{turn}", file.with_name("back")
    seconds = s5cmd(str(file), there) + s5cmd(there, str(back))
    back.unlink()
    return seconds
