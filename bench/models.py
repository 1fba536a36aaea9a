"""A hundred models rebuilt with nothing to do, and explained."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.table import Row

MODELS = 100
ROUNDS = 3
EXPLAIN_SECONDS = 3.0
STOCK = """
from prefect import flow, task
@task(persist_result=False)
def empty(number):
    pass
@flow(persist_result=False)
def stock():
    for future in empty.map(range(COUNT)):
        future.result()
stock()
seconds = []
for _ in range(ROUNDS):
    began = time.monotonic()
    stock()
    seconds.append(time.monotonic() - began)
tell(sorted(seconds)[ROUNDS // 2])
"""
OURS = """
from flows.build.flow import build
from flows.build.recipe.file import parse_recipe
recipe = parse_recipe(RECIPE, "bench")
build(recipe)
seconds = []
for _ in range(ROUNDS):
    began = time.monotonic()
    build(recipe)
    seconds.append(time.monotonic() - began)
tell(sorted(seconds)[ROUNDS // 2])
"""


def rows(measure: Callable[[dict[str, str], str], Any], home: Path) -> list[Row]:
    """As many inputs as models, each model reading one of them."""
    catalog = home / "models"
    names = [f"input_{number}" for number in range(MODELS)]
    for name in names:
        file = catalog / name / "1" / f"{name}.csv"
        file.parent.mkdir(parents=True)
        file.write_text("id,value\n1,2\n")
    recipe = {
        "name": "Models",
        "product": "models",
        "version": "v1",
        "inputs": {"datasets": [{"id": name, "version": "1", "file_type": "csv"} for name in names]},
        "stage_config": {"builds.build": {"models": {f"of_{name}": f"from {name}" for name in names}}},
    }
    environment = {"LARDER_CATALOG_URL": str(catalog)}
    given = f"ROUNDS, COUNT, RECIPE = {ROUNDS}, {2 * MODELS + 3}, {json.dumps(recipe)!r}\n"
    ours, theirs = measure(environment, given + OURS), measure({}, given + STOCK)
    file = home / "models.yml"
    file.write_text(json.dumps(recipe))
    began = time.monotonic()
    larder = Path(sys.executable).with_name("larder")
    subprocess.run(
        [larder, "explain", file], check=True, capture_output=True, env={**os.environ, **environment}
    )
    explained = time.monotonic() - began
    what = f"{MODELS} inputs and {MODELS} models, nothing to do; as many empty stock tasks"
    return [
        Row(what, f"{ours:.2f} s", f"{theirs:.2f} s", ours / theirs),
        Row(
            f"`larder explain` of the same; {EXPLAIN_SECONDS:g} s",
            f"{explained:.2f} s",
            "",
            explained / EXPLAIN_SECONDS,
            1,
        ),
    ]
