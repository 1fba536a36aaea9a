"""Ten million rows loaded, joined and exported, beside DuckDB alone; and how much memory loading takes."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb

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
import resource
from flows.build import build
from flows.recipe_file import parse_recipe
from flows.run import listening
recipe = parse_recipe(RECIPE, "bench")
began = time.monotonic()
with_steps = {}
def hear(step):
    if step.outcome is not None:
        with_steps[step.title] = step.seconds
with listening(hear):
    build(recipe)
tell([time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, with_steps])
"""
ALONE = """
import duckdb, resource
began = time.monotonic()
with duckdb.connect(config={"threads": THREADS}) as connection:
    for name in (ROWS, "others"):
        read = f"read_csv('{FOLDER}/{name}/1/{name}.csv', all_varchar = true)"
        connection.execute(f"copy (from {read}) to '{OUT}/{name}.parquet' (format parquet, compression zstd)")
    tables = f"'{OUT}/{ROWS}.parquet' join '{OUT}/others.parquet' using (other)"
    joined = f"select id, name, amount, title from {tables}"
    connection.execute(f"copy ({joined}) to '{OUT}/joined.parquet' (format parquet, compression zstd)")
    connection.execute(f"copy (from '{OUT}/joined.parquet') to '{OUT}/joined.csv' (format csv, header)")
tell([time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024])
"""


def rows(measure: Callable[[dict[str, str], str], Any], home: Path) -> list[Row]:
    """Each size once; the largest beside DuckDB with as many threads as there are cores, and with one."""
    catalog, out = home / "rows", home / "alone"
    out.mkdir()
    _fill(catalog)
    environment = {"LARDER_CATALOG_URL": str(catalog)}
    took, memory, said = 0.0, [], []
    for millions in MILLIONS:
        recipe = RECIPE.format(millions=millions)
        took, megabytes, steps = measure(environment, f"RECIPE = {recipe!r}\n{OURS}")
        memory.append(megabytes)
        said = [f"{title} {seconds:.0f} s" for title, seconds in steps.items()]
    found = []
    for threads, limit in ((os.cpu_count() or 1, 1.3), (1, None)):
        given = {"FOLDER": str(catalog), "OUT": str(out), "ROWS": f"rows{MILLIONS[-1]}", "THREADS": threads}
        code = "\n".join(f"{name} = {value!r}" for name, value in given.items())
        alone, _ = measure({}, f"{code}\n{ALONE}")
        done = f"{MILLIONS[-1]} million rows loaded, joined, exported ({', '.join(said)})"
        what = f"{done}; DuckDB alone, {threads} threads"
        found.append(Row(what, f"{took:.1f} s", f"{alone:.1f} s", took / alone, limit))
    sizes = ", ".join(f"{number:.0f}" for number in memory)
    what = f"peak memory of these, {', '.join(map(str, MILLIONS))} million rows"
    return [*found, Row(what, f"{sizes} MB", "", memory[-1] / memory[0], None)]


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
