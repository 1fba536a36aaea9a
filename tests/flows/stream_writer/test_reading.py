"""Readers see each event once, as one table for each type, whatever its fields held."""

import json
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from flows.stream_writer import reading
from larder.store import Store
from tests.flows.stream_writer.memory import Memory
from tests.flows.stream_writer.world import Steps, World


def copied(world: World) -> str:
    """The folder `streams/` of the bucket on the disk, with a slash behind the bucket."""
    root = world.scratch / "bucket"
    for name, content in world.objects.items():
        if name.startswith("streams/year="):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)
    return f"{root}/"


def store_of(world: World) -> Store:
    return Store(Memory(world.objects), "bucket")


@pytest.fixture
def connection() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(":memory:")


def test_a_field_that_is_null_a_number_and_a_struct_is_read_as_one_table(
    world: World, connection: duckdb.DuckDBPyConnection
) -> None:
    for number in (0, 1, 2):
        world.put(1, 0, "post", number)
        world.run("writer", 50, Steps())
    root = copied(world)
    assert reading.refresh(connection, reading.counting_files(store_of(world)), root) == ("post",)
    rows = connection.execute("select n, _stream, type, year, hour from post order by _message_id").fetchall()
    assert [None if n is None else json.loads(n) for n, *_ in rows] == [None, 1, {"a": 2}]
    assert {tuple(rest) for _, *rest in rows} == {(world.name, "post", "2026", "10")}


def test_a_view_follows_the_documents_and_never_shows_an_event_twice(
    world: World, connection: duckdb.DuckDBPyConnection
) -> None:
    for _ in range(3):
        world.put(1, 0, "post", 1)
        world.run("writer", 50, Steps())
    root = copied(world)
    reading.refresh(connection, reading.counting_files(store_of(world)), root)
    assert connection.execute("select count(*) from post").fetchall() == [(3,)]
    world.compact(Steps())
    copied(world)
    assert connection.execute("select count(*) from post").fetchall() == [(3,)]
    files = reading.counting_files(store_of(world))
    assert len(files) == 1
    reading.refresh(connection, files, root)
    assert connection.execute("select count(*) from post").fetchall() == [(3,)]
    connection.execute(reading.snapshot_sql(f"{root}streams", "post"))
    assert connection.execute("select count(*) from post").fetchall() == [(3,)]


def test_a_type_that_is_declared_otherwise_later_stays_one_table(
    world: World, connection: duckdb.DuckDBPyConnection
) -> None:
    world.put(1, 0, "post", 1)
    world.run("writer", 50, Steps())
    world.types["post"] = {"text": "text", "n": "integer", "uri": "text"}
    world.put(1, 0, "post", 1)
    world.run("writer", 50, Steps())
    world.compact(Steps())
    reading.refresh(connection, reading.counting_files(store_of(world)), copied(world))
    rows = connection.execute("select n::varchar, uri from post order by _message_id").fetchall()
    assert rows == [("1", None), ("1", "at")]


def test_hours_types_and_quarantine_are_chosen(world: World) -> None:
    for late, kind in ((0, "post"), (1, "post"), (0, "like"), (0, "broken")):
        world.put(0, late, kind, 0)
    world.run("writer", 50, Steps())
    store = store_of(world)

    def found(*words: object, **options: object) -> list[tuple[str, str]]:
        files = reading.counting_files(store, *words, **options)  # type: ignore[arg-type]
        return [(file.hour[-2:], file.listed.type) for file in files]

    assert found() == [("09", "post"), ("10", "like"), ("10", "post")]
    assert found(datetime(2026, 1, 1, 10, 15, tzinfo=UTC)) == [("10", "like"), ("10", "post")]
    assert found(None, datetime(2026, 1, 1, 10, tzinfo=UTC)) == [("09", "post")]
    assert found(types=["_quarantine"]) == [("10", "_quarantine")]


def test_bytes_of_a_batch_are_the_same_every_time(world: World, tmp_path: Path) -> None:
    for number in range(20):
        world.put(3, number % 2, ("post", "like", "broken")[number % 3], number)
    other = World(world.url, world.name, tmp_path)
    world.redis.xgroup_create(world.name, "larder", "0")
    state = world.redis.dump(world.name)
    world.run("writer", 50, Steps())
    world.redis.restore(world.name, 0, state, replace=True)
    other.run("writer", 50, Steps())
    assert other.objects == world.objects
