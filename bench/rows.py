"""Ten million rows loaded, joined and exported, beside DuckDB alone; and the memory that loading takes."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb

from bench.handoff import s5cmd
from bench.table import Row

MILLIONS = (1, 5, 10)
OTHERS = 100_000
RECIPE = """
name: Rows
product: rows{millions}
version: v1
inputs:
  datasets:
    - {{id: rows{millions}, version: "1", file_type: csv}}
    - {{id: others, version: "1", file_type: csv}}
stage_config:
  builds.build:
    models:
      joined: |
        select id, name, amount, title from rows{millions} join others using (other)
exports:
  datasets:
    - {{name: joined, format: csv}}
"""
OURS = """
from flows.build.flow import build
from flows.build.recipe.file import parse_recipe
from larder.outcomes import listening
recipe = parse_recipe(RECIPE, "bench")
steps = {}
def hear(step):
    if step.outcome is not None:
        steps[step.title] = step.seconds
began = time.monotonic()
with listening(hear):
    build(recipe)
tell([time.monotonic() - began, steps])
"""
LOAD = """
import logging, resource
from flows.build.flow import build
from flows.build.recipe.file import parse_recipe
recipe = parse_recipe(RECIPE, "bench")
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
idle = peak()
try:
    build(recipe, force=["load"], fail_at="build")
except Exception as error:
    assert "asked to fail" in str(error), error
tell(peak() - idle)
"""
ALONE = """
import duckdb
began = time.monotonic()
with duckdb.connect(config={"threads": THREADS}) as connection:
    for name in (ROWS, "others"):
        read = f"read_csv('{FOLDER}/{name}/1/{name}.csv', all_varchar = true)"
        connection.execute(f"copy (from {read}) to '{OUT}/{name}.parquet' (format parquet, compression zstd)")
    tables = f"'{OUT}/{ROWS}.parquet' join '{OUT}/others.parquet' using (other)"
    joined = f"select id, name, amount, title from {tables}"
    connection.execute(f"copy ({joined}) to '{OUT}/joined.parquet' (format parquet, compression zstd)")
    connection.execute(f"copy (from '{OUT}/joined.parquet') to '{OUT}/joined.csv' (format csv, header)")
tell(time.monotonic() - began)
"""


def rows(measure: Callable[[dict[str, str], str], Any], home: Path) -> list[Row]:
    """The largest size beside DuckDB alone; the memory of loading each."""
    catalog, out = home / "rows", home / "alone"
    out.mkdir()
    _fill(catalog)
    environment = {"LARDER_CATALOG_URL": str(catalog)}
    recipes = {millions: f"RECIPE = {RECIPE.format(millions=millions)!r}\n" for millions in MILLIONS}
    most = MILLIONS[-1]
    took, steps = measure(environment, recipes[most] + OURS)
    memory = [measure(environment, recipe + LOAD) for recipe in recipes.values()]
    given = {"FOLDER": str(catalog), "OUT": str(out), "ROWS": f"rows{most}"}
    cores = os.cpu_count() or 1
    alone, one = (measure({}, _named({**given, "THREADS": threads}) + ALONE) for threads in (cores, 1))
    stored = sum(s5cmd(str(file), f"s3://{os.environ['LARDER_BUCKET']}/alone/") for file in out.iterdir())
    done = f"{most} million rows loaded, joined, exported"
    said = ", ".join(
        f"{title.split()[0]} {seconds:.0f} s" for title, seconds in steps.items() if seconds >= 1
    )
    return [
        Row(f"{done}; DuckDB alone, {cores} threads", f"{took:.1f} s", f"{alone:.1f} s", took / alone, 1.3),
        Row(f"the same ({said}); DuckDB alone, 1 thread", f"{took:.1f} s", f"{one:.1f} s", took / one),
        Row(
            f"the same; DuckDB alone, {cores} threads, then its four files put by s5cmd",
            f"{took:.1f} s",
            f"{alone + stored:.1f} s",
            took / (alone + stored),
        ),
        Row(
            f"peak memory of loading {', '.join(map(str, MILLIONS))} million rows over idle",
            f"{', '.join(f'{number:.0f}' for number in memory)} MB",
            "",
            memory[-1] / memory[0],
        ),
    ]


def _named(values: dict[str, object]) -> str:
    return "".join(f"{name} = {value!r}\n" for name, value in values.items())


def _fill(catalog: Path) -> None:
    with duckdb.connect() as connection:
        queries = {
            f"rows{millions}": "select range as id, md5(range::varchar) as name, range % 977 / 4 as amount, "
            f"range % {OTHERS} as other from range({millions} * 1000000)"
            for millions in MILLIONS
        }
        queries["others"] = f"select range as other, 'title ' || range as title from range({OTHERS})"
        for name, query in queries.items():
            file = catalog / name / "1" / f"{name}.csv"
            file.parent.mkdir(parents=True)
            connection.execute(f"copy ({query}) to '{file}' (header)")
