"""Records of an API as rows of a table."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from flows.activity.stages.pages import Pages, records
from flows.tables.quoting import identifier, literal
from flows.tables.table import NO_PATH_COLUMNS, PARQUET, Table, database, read_table

ROW_BYTES = 2**25
SHOWN_CHARACTERS = 60


def _encodable(text: str) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("text that UTF-8 can hold") from None
    return text


Text = Annotated[str, AfterValidator(_encodable)]
WholeNumber = Annotated[int, Field(ge=-(2**63), lt=2**63)]


class Record(BaseModel):
    """One record; what the API says beyond these fields is left out."""

    model_config = ConfigDict(frozen=True, extra="ignore", coerce_numbers_to_str=True)

    id: WholeNumber


Kind = TypeVar("Kind", bound=Record)


class RecordError(Exception):
    """A record is not what the API promises. Trying again does not help."""

    def __init__(self, place: str, found: str, expected: str) -> None:
        super().__init__(place, found, expected)
        self.place, self.found, self.expected = place, found, expected

    def __str__(self) -> str:
        return f"{self.place}: found {self.found}; expected {self.expected}."


def checked(pages: Pages, kind: type[Kind]) -> Iterator[Kind]:
    """Every record of a source, in the order in which they came.

    Raises:
        RecordError: a record is not of that kind.
    """
    for place, record in records(pages):
        try:
            yield kind.model_validate(record)
        except ValidationError as error:
            raise _wrong(f"{kind.__name__}s, {place}", error) from error


def unique(found: Iterable[Kind]) -> tuple[list[Kind], tuple[str, ...]]:
    """One record for each id, the last that came in the place of the first, and a warning of the others.

    A record that moves from page to page while they are read comes twice.
    """
    kept: dict[int, Kind] = {}
    times = 0
    for record in found:
        times += record.id in kept
        kept[record.id] = record
    said = (f"{times:,} times an id came again; the record that came last counts",)
    return list(kept.values()), said if times else ()


def table_of(
    name: str,
    columns: Mapping[str, str],
    rows: Iterable[Mapping[str, Any]],
    warnings: tuple[str, ...],
    scratch: Path,
) -> Table:
    """Rows as `<name>.parquet` in `scratch`.

    Args:
        columns: DuckDB's type of each column, by its name
    """
    lines, target = scratch / f"{name}.ndjson", scratch / f"{name}.parquet"
    with lines.open("w", encoding="utf-8") as out:
        out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    types = ", ".join(f"{literal(column)}: {literal(kind)}" for column, kind in columns.items())
    listed = ", ".join(map(identifier, columns))
    read = (
        f"read_json({literal(str(lines))}, format = 'newline_delimited', {NO_PATH_COLUMNS},"
        f" columns = {{{types}}}, maximum_object_size = {ROW_BYTES})"
    )
    with database(scratch) as connection:
        connection.execute(f"copy (select {listed} from {read}) to {literal(str(target))} ({PARQUET})")  # noqa: S608
        table = read_table(connection, target)
    lines.unlink()
    return table.model_copy(update={"warnings": warnings or None})


def _wrong(place: str, error: ValidationError) -> RecordError:
    first = error.errors(include_url=False)[0]
    field = ".".join(map(str, first["loc"]))
    if first["type"] == "missing":
        return RecordError(place, f"no {field}", f"{field}")
    shown = json.dumps(first["input"], ensure_ascii=True, default=str)[:SHOWN_CHARACTERS]
    return RecordError(
        place, f"{field} {shown}", re.sub("^(Input should be|Value error,) ", "", first["msg"])
    )
