"""What a query reads, found by DuckDB's own parser, and what no query of a recipe may do."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import duckdb

TABLE_FUNCTIONS = frozenset(
    {"generate_series", "generate_subscripts", "json_each", "json_tree", "range", "regexp_split_to_table"}
    | {"repeat", "repeat_row", "unnest"}
)
"""The functions that may stand in place of a table: they see their arguments and nothing else."""
OUTSIDE = frozenset(
    {"ago", "current_localtime", "current_localtimestamp", "current_query", "current_setting", "getenv"}
    | {"getvariable", "pg_conf_load_time", "pg_postmaster_start_time", "pg_sleep", "version"}
)
"""Functions that tell more than their arguments do and that DuckDB does not itself call unstable."""
STABLE = frozenset(
    {"error", "current_database", "current_schema", "current_schemas", "in_search_path", "stats"}
)
CLOCKS = frozenset({"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"})


class QueryError(ValueError):
    """A query that is not one plain SELECT over tables.

    Args:
        found: what stands there.
        expected: what may stand there.
        at: offset of it in the query, in bytes of UTF-8; None where it is the query as a whole.
    """

    def __init__(self, found: str, expected: str, at: int | None = None) -> None:
        super().__init__(f"found {found}; expected {expected}")
        self.found = found
        self.expected = expected
        self.at = at


@dataclass(frozen=True)
class Reference:
    """A table that a query reads, and where it says so."""

    name: str
    at: int | None


@cache
def references(query: str) -> tuple[Reference, ...]:
    """The tables that a query reads, each once, in the order in which they stand there.

    Raises:
        QueryError: if it is not one SELECT, or calls what reaches outside its tables.
    """
    node = _parsed(query)
    found: dict[str, Reference] = {}
    for reference in _walk(node, frozenset()):
        found.setdefault(reference.name.lower(), reference)
    return tuple(found.values())


def place(query: str, at: int) -> str:
    """Line and column of an offset, as people count."""
    before = query.encode()[:at].decode(errors="ignore")
    return f"line {before.count(chr(10)) + 1}, column {len(before) - before.rfind(chr(10))}"


def one_statement(query: str) -> str:
    """A query that `references` took, without the semicolons behind it."""
    text = query.encode()
    places = [at for at, kind in duckdb.tokenize(query) if kind is not duckdb.token_type.comment]
    while places and text[places[-1] : places[-1] + 1] == b";":
        text = text[: places.pop()]
    return text.decode()


def require_expression(text: str) -> None:
    """Return if a text is one SQL expression and nothing more.

    Raises:
        QueryError: if it is not.
    """
    node = _parsed(f"select {text}\n")["node"]
    others = {"where_clause", "group_expressions", "having", "qualify", "sample", "modifiers"}
    if node["type"] != "SELECT_NODE" or len(node["select_list"]) != 1 or any(node.get(one) for one in others):
        raise QueryError(" ".join(text.split()), "one expression")
    if node.get("from_table", {}).get("type", "EMPTY") != "EMPTY":
        raise QueryError(" ".join(text.split()), "one expression")


def _parsed(query: str) -> Any:
    with _parser().cursor() as connection:
        serialized = "select json_serialize_sql(?::varchar, skip_null := true, skip_empty := true)"
        answer = json.loads(connection.execute(serialized, [query]).fetchall()[0][0])
    if answer["error"]:
        said = " ".join(answer["error_message"].split())
        if said.startswith("Only SELECT"):
            raise QueryError("another statement than SELECT", "one SELECT; PIVOT with the values behind IN")
        raise QueryError(said, "one SELECT that DuckDB can read", _number(answer.get("position")))
    statements = answer["statements"]
    if len(statements) != 1:
        raise QueryError(f"{len(statements)} statements", "one SELECT")
    return statements[0]


@cache
def _parser() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(":memory:", config={"threads": 1, "enable_external_access": False})


@cache
def _unstable() -> frozenset[str]:
    with _parser().cursor() as connection:
        listed = "select distinct function_name from duckdb_functions() where stability <> 'CONSISTENT'"
        return frozenset(name for (name,) in connection.execute(listed).fetchall()) - STABLE | OUTSIDE


def _walk(node: Any, known: frozenset[str]) -> Iterator[Reference]:
    """References below a node of the syntax tree; `known` are the names that WITH gives there."""
    if isinstance(node, list):
        for one in node:
            yield from _walk(one, known)
        return
    if not isinstance(node, Mapping):
        return
    _refuse(node)
    for entry in node.get("cte_map", {}).get("map", ()):
        own = {entry["key"].lower()}
        recursive = entry["value"]["query"]["node"]["type"] == "RECURSIVE_CTE_NODE"
        yield from _walk(entry["value"], known | own if recursive else known)
        known |= own
    if node.get("type") == "BASE_TABLE":
        name = node["table_name"]
        qualified = [node[part] for part in ("catalog_name", "schema_name") if node.get(part)]
        if qualified:
            raise QueryError(".".join([*qualified, name]), "the name of an input or a model", _at(node))
        if name.lower() not in known:
            yield Reference(name, _at(node))
    for name, child in node.items():
        if name != "cte_map":
            yield from _walk(child, known)


def _refuse(node: Mapping[str, Any]) -> None:
    kind = node.get("type")
    match kind:
        case "TABLE_FUNCTION":
            name = node["function"].get("function_name", "")
            if name.lower() not in TABLE_FUNCTIONS:
                valid = f"the name of an input or a model, or one of {', '.join(sorted(TABLE_FUNCTIONS))}"
                raise QueryError(f"{name}(…) as a table", valid, _at(node))
        case "FUNCTION" | "WINDOW_AGGREGATE":
            name = node.get("function_name", "")
            alone = name.lower() == "age" and len(node.get("children", ())) == 1
            if alone or name.lower() in _unstable():
                raise QueryError(f"{name}(…)", "functions that always give the same for the same", _at(node))
        case "COLUMN_REF":
            if len(node["column_names"]) == 1 and node["column_names"][0].lower() in CLOCKS:
                found = node["column_names"][0]
                raise QueryError(
                    found, "nothing that the clock decides (or the column as table.column)", _at(node)
                )
        case "VALUE_PARAMETER":
            raise QueryError("a parameter", "values", _at(node))
        case "SHOW_REF":
            raise QueryError("SHOW, DESCRIBE or SUMMARIZE", "one SELECT", _at(node))
    if isinstance(sample := node.get("sample"), Mapping) and sample.get("seed") == -1:
        raise QueryError("a sample that differs every time", "REPEATABLE (a number) behind it", _at(node))


def _at(node: Mapping[str, Any]) -> int | None:
    at = _number(node.get("query_location"))
    return None if at is None or at >= 2**63 else at


def _number(value: object) -> int | None:
    return int(value) if isinstance(value, int | str) and str(value).isdigit() else None
