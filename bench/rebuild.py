"""A rebuild of a pinned recipe with nothing to do, beside a stock flow of five empty tasks."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.table import Row, timed

ROUNDS = 11
COMMANDS = 5
PAUSE_SECONDS = 1.5
"""Between two runs: SQLite answers `database is locked` to runs made back to back, whosever they are."""
RECIPE = """
name: Pinned
product: pinned
version: 24Q4
inputs:
  datasets:
    - {id: bpl_libraries, version: "20240105", file_type: csv}
exports:
  datasets:
    - {name: bpl_libraries, format: csv}
simulate: {}
"""
STOCK = """
from prefect import flow, task
from prefect.artifacts import create_markdown_artifact

@task(persist_result=False)
def empty():
    pass

@flow(persist_result=False)
def stock():
    for _ in range(5):
        empty()
    create_markdown_artifact(PAGE, key="stock-build", description="stock")
"""
IN_TURN = """
from contextlib import nullcontext
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from flows.build.flow import build
from flows.build.recipe.file import parse_recipe
recipe = parse_recipe(RECIPE, "bench")
build(recipe), build(recipe), stock(), stock()
quiet = temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}) if OFF else nullcontext()
ours, theirs = [], []
with quiet:
    for _ in range(ROUNDS):
        for function, seconds in ((lambda: build(recipe), ours), (stock, theirs)):
            time.sleep(PAUSE_SECONDS)
            began = time.monotonic()
            function()
            seconds.append(time.monotonic() - began)
tell([ours, theirs])
"""


def rows(measure: Callable[[dict[str, str], str], Any], home: Path) -> list[Row]:
    """In one process with the heartbeat on and off, and as whole commands."""
    rounds = f"ROUNDS, PAUSE_SECONDS = {ROUNDS}, {PAUSE_SECONDS}\n"
    given = f"RECIPE, PAGE = {RECIPE!r}, {'| a | b |' * 60!r}\n{rounds}"
    found = []
    for off, said in ((False, "heartbeat as shipped"), (True, "heartbeat off")):
        ours, theirs = measure({}, f"{given}OFF = {off}\n{STOCK}{IN_TURN}")
        found.append(timed(f"rebuild, nothing to do, {said}; five empty stock tasks", ours, theirs, 1.5))
    return [*found, _commands(home, given)]


def _commands(home: Path, given: str) -> Row:
    recipe, script = home / "pinned.yml", home / "stock.py"
    recipe.write_text(RECIPE)
    script.write_text(f"{given}{STOCK}\nstock()\n")
    larder = Path(sys.executable).with_name("larder")
    ours, theirs = [], []
    for _ in range(COMMANDS):
        ours.append(_seconds(larder, "build", recipe))
        theirs.append(_seconds(sys.executable, script))
    return timed("the same as whole commands: `larder build`; a bare script", ours, theirs, None)


def _seconds(*command: object) -> float:
    began = time.monotonic()
    subprocess.run([str(word) for word in command], check=True, capture_output=True)
    return time.monotonic() - began
