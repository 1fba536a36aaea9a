"""A workflow's configuration written for files that are there, and files put into landing."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from flows.medallion.bucket import folder
from flows.medallion.stages.bronze import bronze
from flows.medallion.stages.columns import infer, unify
from flows.medallion.workflow.files import ENDINGS, FileOptions
from flows.medallion.workflow.schema import Workflow
from flows.tables.audit import ADDED
from flows.tables.quoting import identifier
from flows.tables.table import Table, database, rows_of
from larder.artifacts import media_type
from larder.store import Store, sums_of


def jobs_below(place: Path) -> dict[str, list[Path]]:
    """The files of each job: those of a folder `<job>/`, or `<job>.<ending>` alone.

    Raises:
        FileNotFoundError: if there are none.
    """
    jobs: dict[str, list[Path]] = {}
    for file in sorted(place.rglob("*")):
        if file.is_file() and file.suffix.lower() in ENDINGS:
            parts = file.relative_to(place).parts
            jobs.setdefault(parts[0] if len(parts) > 1 else file.stem, []).append(file)
    if not jobs:
        raise FileNotFoundError(f"{place} has no file that ends in {', '.join(ENDINGS)}.")
    return jobs


def seeded_workflow(workflow_id: str, jobs: Mapping[str, Sequence[Path]]) -> str:
    """A configuration for these files: the key of each job, and the foreign keys that hold among them.

    A key is the first column whose values are all there and differ, and whose name ends in `id` or `code`; a
    foreign key is a column that is called as another job's key and has none but its values.
    """
    with TemporaryDirectory() as scratch:
        tables = {name: _table(files, Path(scratch) / name) for name, files in jobs.items()}
        keys = {name: _key(parts, Path(scratch)) for name, parts in tables.items()}
        configured = {name: _job(name, tables, keys, Path(scratch)) for name in jobs}
    given = {"workflow_id": workflow_id, "jobs": configured}
    Workflow.model_validate(given)
    return yaml.safe_dump(given, sort_keys=False, default_flow_style=None, allow_unicode=True)


def put_into_landing(store: Store, workflow_id: str, jobs: Mapping[str, Sequence[Path]]) -> list[str]:
    """Upload the files of jobs into landing; the names of the objects."""
    names = []
    for job, files in jobs.items():
        for file in files:
            name = f"{folder('landing', workflow_id, job)}/{file.name}"
            store.put_file(name, file, sums_of(file), media_type(file))
            names.append(name)
    return names


def _table(files: Sequence[Path], scratch: Path) -> list[Table]:
    options, parts = FileOptions(), []
    for number, _ in enumerate(files):
        (scratch / str(number)).mkdir(parents=True)
    found = [infer(file, file.name, options, scratch / str(at)) for at, file in enumerate(files)]
    columns = unify(found, {}, str(scratch))
    for at, file in enumerate(files):
        made = bronze(file, file.name, "2025-01-01T00:00:00", columns, options, scratch=scratch / str(at))
        parts.append(made.table)
    return parts


def _names(parts: Sequence[Table]) -> list[str]:
    return list(dict.fromkeys(one.name for part in parts for one in part.columns if one.name not in ADDED))


def _rows(parts: Sequence[Table]) -> str:
    return " union all by name ".join(f"select * from {rows_of(part.file)}" for part in parts)  # noqa: S608


def _key(parts: Sequence[Table], scratch: Path) -> str | None:
    with database(scratch) as connection:
        for name in _names(parts):
            if not name.lower().endswith(("id", "code")):
                continue
            column = identifier(name)
            counts = f"count(*), count({column}), count(distinct {column})"
            counted = connection.execute(f"select {counts} from ({_rows(parts)})").fetchall()[0]  # noqa: S608
            if len(set(counted)) == 1 or (counted[0] == counted[1] and len(parts) > 1):
                return name
    return None


def _job(
    name: str, tables: Mapping[str, Sequence[Table]], keys: Mapping[str, str | None], scratch: Path
) -> dict[str, Any]:
    own, rules = set(_names(tables[name])), []
    for other, key in keys.items():
        if other == name or key is None or key not in own or key == keys[name]:
            continue
        column, known = identifier(key), f"select {identifier(key)}::varchar from ({_rows(tables[other])})"  # noqa: S608
        orphans = f"{column} is not null and {column}::varchar not in ({known})"
        query = f"select count(*) from ({_rows(tables[name])}) where {orphans}"  # noqa: S608
        with database(scratch) as connection:
            if not connection.execute(query).fetchall()[0][0]:
                rules.append({"foreign_key": {"column": key, "job": other}})
    return {
        **({"primary_keys": keys[name]} if keys[name] else {}),
        **({"rules": rules} if rules else {}),
    }
