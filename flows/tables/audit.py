"""The columns that tell where a row comes from, and the one that tells which row it is."""

from collections.abc import Sequence

from flows.tables.quoting import identifier, literal

INGESTED_AT = "_ingested_at"
"""When the content of the row's file was first ingested, in UTC."""
SOURCE_FILE = "_source_file"
ROW_NUMBER = "_row_number"
"""The row's place in its file; the first is 1."""
SK_ID = "_sk_id"
"""The same text for the same row on every run."""
REJECTED_BY = "_rejected_by"
"""The names of the rules that a row of a quarantine breaks."""
AUDIT = (INGESTED_AT, SOURCE_FILE, ROW_NUMBER)
ADDED = (*AUDIT, SK_ID, REJECTED_BY)


def require_free(names: Sequence[str]) -> None:
    """Return if no column has the name of one that is added.

    Raises:
        ValueError: if one has.
    """
    taken = [name for name in names if name.lower() in ADDED]
    if taken:
        raise ValueError(f"its column {taken[0]} has the name of one that is added: give it another name")


def audited(rows: str, ingested_at: str, source_file: str) -> str:
    """A query for rows with the columns that tell where they come from.

    Args:
        rows: as they stand in SQL.
        ingested_at: an instant, `2026-01-31T12:00:00`, in UTC.
    """
    return (
        f"select *, {literal(ingested_at)}::timestamp as {INGESTED_AT}, "  # noqa: S608
        f"{literal(source_file)} as {SOURCE_FILE}, row_number() over () as {ROW_NUMBER} from {rows}"
    )


def surrogate_key(columns: Sequence[str]) -> str:
    """SQL for the `_sk_id` of a row that these columns tell from all others.

    A value counts as text, with its column's name; null counts as nothing. So neither another type of a
    column nor a new column that is null changes it.
    """
    parts = ", ".join(
        f"{literal(name)} || ':' || length({column}::varchar) || ':' || {column}::varchar"
        for name, column in sorted((name, identifier(name)) for name in columns)
    )
    return f"md5(concat_ws(';', {parts}))"
