"""What becomes of each row: it stays, a rule rejects it, or a later row takes its place.

Memory holds one byte for each row; all else is done by DuckDB, a part of the rows at a time.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

import duckdb
import numpy
import polars
from numpy.typing import NDArray

from flows.tables.quality import Check, OnFailure, QualityError
from flows.tables.quoting import identifier, literal
from flows.tables.table import rows_of

CLEANED = "cleaned"
"""The view of all rows with cleaned values, and beside them `ROW` and `FILE`."""
ROW = "_larder_row"
"""A row's place among all; the first is 0."""
FILE = "_larder_file"
"""The place of a row's file among all."""
ROWS_AT_ONCE = 2_000_000
ROWS_SHOWN = 5
LONGEST_ROW = 300
Places = NDArray[numpy.int64]


class Verdict(IntEnum):
    """What becomes of a row."""

    STAYS = 0
    DUPLICATE = 1
    REJECTED = 2


@dataclass(frozen=True)
class Compared:
    """Columns by whose values rows are compared."""

    columns: tuple[str, ...]
    nulls: bool
    """Whether rows with a null among them are compared too; nulls are alike then."""


@dataclass(frozen=True)
class Unique:
    """Columns whose values stand in one row alone: all rows but the last that share them break the rule."""

    name: str
    on_failure: OnFailure
    columns: tuple[str, ...]

    @property
    def compared(self) -> Compared:
        """How it compares rows."""
        return Compared(self.columns, nulls=False)


@dataclass
class Verdicts:
    """What becomes of each row, found step by step."""

    connection: duckdb.DuckDBPyConnection
    rows: int
    narrow: Path
    checks: Sequence[Check]
    """What looks at one row at a time."""
    hashes: Mapping[Compared, str]
    """The column of `narrow` with a hash of the compared values; null where they are not compared."""
    of_row: NDArray[numpy.uint8]
    rejected_by: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    rejected: list[tuple[str, Places]] = field(default_factory=list)
    """The rows that each rule rejects which compares rows."""

    def duplicates(self, compared: Compared, *, within_files: bool) -> None:
        """All rows but the last with the same values are duplicates."""
        for places in self._repeated(compared, within_files=within_files):
            self.of_row[places] = Verdict.DUPLICATE

    def unique(self, rule: Unique, *, within_files: bool) -> None:
        """Apply a rule to the rows that stay.

        Raises:
            QualityError: if it fails the run.
        """
        found = list(self._repeated(rule.compared, within_files=within_files))
        broken = sum(len(places) for places in found)
        if not broken:
            return
        self._broken(rule.name, rule.on_failure, broken, lambda: f"{ROW} in ({_listed(found)})", rule.columns)
        if rule.on_failure is OnFailure.QUARANTINE:
            for places in found:
                self.of_row[places] = Verdict.REJECTED
                self.rejected.append((rule.name, places))

    def checked(self) -> None:
        """Apply the rules that look at one row at a time.

        Raises:
            QualityError: if one fails the run.
        """
        if not self.checks:
            return
        counted = ", ".join(f"count(*) filter (broken & {1 << bit} > 0)" for bit in range(len(self.checks)))
        counts = self.connection.execute(f"select {counted} from {rows_of(self.narrow)}").fetchall()[0]  # noqa: S608
        for check, count in zip(self.checks, counts, strict=True):
            if count:
                self._broken(check.name, check.on_failure, count, lambda one=check: one.broken, check.columns)  # type: ignore[misc]
        for places in self._places(f"broken & {self._quarantining} > 0"):
            self.of_row[places] = Verdict.REJECTED

    @property
    def _quarantining(self) -> int:
        return sum(
            1 << bit for bit, check in enumerate(self.checks) if check.on_failure is OnFailure.QUARANTINE
        )

    def _broken(
        self, name: str, on_failure: OnFailure, count: int, where: Callable[[], str], columns: Sequence[str]
    ) -> None:
        said = f"rule {name} does not hold for {count:,} rows"
        match on_failure:
            case OnFailure.FAIL:
                raise QualityError(f"{said}, first: {self._shown(where(), columns)}")
            case OnFailure.WARN:
                self.warnings.append(f"{said}, first: {self._shown(where(), columns)}")
            case OnFailure.QUARANTINE:
                self.rejected_by[name] = self.rejected_by.get(name, 0) + count

    def _shown(self, where: str, columns: Sequence[str]) -> str:
        listed = ", ".join(["_source_file", "_row_number", *map(identifier, columns)])
        query = f"select {listed} from {CLEANED} where {where} order by {ROW} limit {ROWS_SHOWN}"  # noqa: S608
        rows = self.connection.execute(query).fetchall()
        return "; ".join(_row(columns, row) for row in rows)

    def rejections(self) -> str:
        """A query for the place of each rejected row, and the names of the rules that it breaks."""
        cases = [
            f"case when broken & {1 << bit} > 0 then {literal(check.name)} end"
            for bit, check in enumerate(self.checks)
            if check.on_failure is OnFailure.QUARANTINE
        ]
        parts = []
        if cases:
            names = f"concat_ws(', ', {', '.join(cases)}) as names"
            rows = f"{rows_of(self.narrow)} where broken & {self._quarantining} > 0"
            parts.append(f"select {ROW}, {names} from {rows}")  # noqa: S608
        for number, (name, places) in enumerate(self.rejected):
            file = self.narrow.with_name(f"rejected-{number}.parquet")
            polars.DataFrame({ROW: places}).write_parquet(file)
            parts.append(f"select {ROW}, {literal(name)} as names from {rows_of(file)}")  # noqa: S608
        together = " union all ".join(parts)
        return (
            f"select {ROW}, string_agg(names, ', ' order by names) as names from ({together}) group by {ROW}"  # noqa: S608
        )

    def staying(self) -> Path:
        """A Parquet file that says of each row, in their order, whether it stays."""
        file = self.narrow.with_name("staying.parquet")
        polars.DataFrame({"stays": self.of_row == Verdict.STAYS}).write_parquet(file)
        return file

    def count(self, verdict: Verdict) -> int:
        """How many rows have a verdict."""
        return int(numpy.count_nonzero(self.of_row == verdict))

    def _repeated(self, compared: Compared, *, within_files: bool) -> Iterator[Places]:
        """The places of rows that stay and have the values of a later one that stays."""
        hashed, staying = self.hashes[compared], rows_of(self.staying())
        rows = f"(select * from {rows_of(self.narrow)} positional join {staying})"  # noqa: S608
        parts = max(1, -(-self.rows // ROWS_AT_ONCE))
        group = f"{hashed}, {FILE}" if within_files else hashed
        for part in range(parts):
            mine = f"stays and {hashed} % {parts} = {part}"
            alike = f"select {group} from {rows} where {mine} group by {group} having count(*) > 1"  # noqa: S608
            self.connection.execute(f"create or replace temp table alike as {alike}")
            if not self.connection.execute("select count(*) from alike").fetchall()[0][0]:
                continue
            candidates = f"select {ROW} from {rows} semi join alike using ({group}) where {mine}"  # noqa: S608
            self.connection.execute(f"create or replace temp table candidates as {candidates}")
            yield from self._all_but_the_last(compared.columns, within_files=within_files)

    def _all_but_the_last(self, columns: tuple[str, ...], *, within_files: bool) -> Iterator[Places]:
        """Of the candidates, whose hashes are alike, those whose values really stand in a later one."""
        listed = ", ".join([*map(identifier, columns), *([FILE] if within_files else [])])
        numbered = f"row_number() over (partition by {listed} order by {ROW} desc) as newer"
        rows = f"select {ROW}, {numbered} from {CLEANED} semi join candidates using ({ROW})"  # noqa: S608
        found = self.connection.execute(f"select {ROW} from ({rows}) where newer > 1").fetchnumpy()[ROW]  # noqa: S608
        if len(found):
            yield numpy.sort(numpy.asarray(found, dtype=numpy.int64))

    def _places(self, where: str) -> Iterator[Places]:
        for start in range(0, self.rows, ROWS_AT_ONCE):
            within = f"{ROW} between {start} and {start + ROWS_AT_ONCE - 1}"
            query = f"select {ROW} from {rows_of(self.narrow)} where {within} and {where}"  # noqa: S608
            yield numpy.asarray(self.connection.execute(query).fetchnumpy()[ROW], dtype=numpy.int64)


def verdicts(
    connection: duckdb.DuckDBPyConnection,
    checks: Sequence[Check],
    compared: Sequence[Compared],
    rows: int,
    scratch: Path,
) -> Verdicts:
    """Look at every row of `CLEANED` once, and write what there is to know of it into a narrow file.

    Raises:
        QualityError: if a rule cannot be run.
    """
    hashes = {one: f"hash_{number}" for number, one in enumerate(dict.fromkeys(compared))}
    bits = [f"(case when {check.broken} then {1 << bit} else 0 end)" for bit, check in enumerate(checks)]
    selected = [ROW, FILE, f"({' | '.join(bits) or 0})::bigint as broken"]
    selected += [f"{_hash(one)} as {name}" for one, name in hashes.items()]
    narrow = scratch / "narrow.parquet"
    rows_in_order = f"select {', '.join(selected)} from {CLEANED} order by {ROW}"  # noqa: S608
    query = f"copy ({rows_in_order}) to {literal(str(narrow))} (format parquet)"
    try:
        connection.execute(query)
    except (duckdb.IOException, duckdb.OutOfMemoryException):
        raise
    except duckdb.Error as error:
        raise QualityError(_cannot_run(connection, checks, error)) from error
    return Verdicts(connection, rows, narrow, checks, hashes, numpy.zeros(rows, dtype=numpy.uint8))


def _hash(compared: Compared) -> str:
    listed = [identifier(column) for column in compared.columns]
    whole = f"hash({', '.join(listed)})"
    if compared.nulls:
        return whole
    return f"case when {' and '.join(f'{column} is not null' for column in listed)} then {whole} end"


def _cannot_run(connection: duckdb.DuckDBPyConnection, checks: Sequence[Check], error: duckdb.Error) -> str:
    """Which rule it is that cannot be run."""
    for check in checks:
        try:
            connection.execute(f"select count(*) from {CLEANED} where {check.broken}").fetchall()  # noqa: S608
        except duckdb.Error as own:
            return f"rule {check.name} cannot be run: {' '.join(str(own).split())[:500]}"
    return f"the rules cannot be run: {' '.join(str(error).split())[:500]}"


def _listed(found: Sequence[Places]) -> str:
    return ", ".join(
        str(place) for place in sorted(int(place) for places in found for place in places[:ROWS_SHOWN])
    )


def _row(columns: Sequence[str], row: tuple[object, ...]) -> str:
    values = "".join(f", {name} {value!r}" for name, value in zip(columns, row[2:], strict=True))
    text = f"{row[0]} row {row[1]}{values}"
    return text if len(text) <= LONGEST_ROW else text[: LONGEST_ROW - 1] + "…"
