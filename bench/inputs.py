"""Many inputs loaded in parallel, and rebuilt with nothing to do, beside as many stock tasks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.table import Row

INPUTS = 200
OURS = """
from flows.build.flow import build
from flows.build.recipe.file import parse_recipe
line = "    - {{id: input_{0}, version: v1, file_type: csv}}\\n"
datasets = "".join(line.format(number) for number in range(INPUTS))
head = "name: Many\\nproduct: many\\nversion: v1\\ninputs:\\n  datasets:\\n"
recipe = parse_recipe(head + datasets + "simulate: {}\\n", "bench")
seconds = []
for _ in range(2):
    began = time.monotonic()
    build(recipe)
    seconds.append(time.monotonic() - began)
tell(seconds)
"""
STOCK = """
import tempfile
from pathlib import Path
from prefect import flow, task
from prefect.cache_policies import INPUTS as BY_INPUTS
from prefect.task_runners import ThreadPoolTaskRunner
from flows.build.stages import simulate
from flows.build.recipe.lock import LockedDataset

@task(persist_result=True, result_storage="s3-bucket/larder-results", cache_policy=BY_INPUTS)
def load(name):
    with tempfile.TemporaryDirectory() as folder:
        dataset = LockedDataset(source="catalog", id=name, version="v1", file_type="csv", made_up=True)
        table = simulate.load(dataset, seconds=0, scratch=Path(folder))
        return table.file.read_bytes()

@flow(task_runner=ThreadPoolTaskRunner(max_workers=8))
def stock():
    for future in load.map([f"input_{number}" for number in range(INPUTS)]):
        future.result()

seconds = []
for _ in range(2):
    began = time.monotonic()
    stock()
    seconds.append(time.monotonic() - began)
tell(seconds)
"""


def rows(measure: Callable[[dict[str, str], str], Any], home: Path) -> list[Row]:  # noqa: ARG001
    """Loaded once, then once more with nothing to do."""
    given = f"INPUTS = {INPUTS}\n"
    ours, theirs = measure({}, given + OURS), measure({}, given + STOCK)
    said = (f"{INPUTS} inputs loaded, per input", f"{INPUTS} inputs, nothing to do, per input")
    return [
        Row(
            f"{what}; stock tasks with stock persistence",
            f"{1000 * mine / INPUTS:.0f} ms",
            f"{1000 * stock / INPUTS:.0f} ms",
            mine / stock,
            0.5,
        )
        for what, mine, stock in zip(said, ours, theirs, strict=True)
    ]
