"""What stages are given of the machine, and which libraries count in a command's key."""

from pathlib import Path

import pytest

from flows.build.libraries import installed, libraries_of
from flows.build.supplied import bounds_of, surroundings_of
from flows.tables import measures
from flows.tables.bounds import Bounds, Kind, limit_reached
from flows.tables.supervision import Ended
from larder.refusal import RefusedError
from larder.settings import settings


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own."""
    monkeypatch.setenv("LARDER_HOME", str(tmp_path))
    (tmp_path / "mode").write_text("local\n")
    return tmp_path


def test_commands_get_the_variables_that_the_operator_allows_and_no_others(
    monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.setenv("WAREHOUSE_PASSWORD", "hush")
    monkeypatch.setenv("API_TOKEN", "hush-hush")
    assert surroundings_of(settings()).secrets == {}
    monkeypatch.setenv("LARDER_RECIPE_SECRETS", "WAREHOUSE_PASSWORD,NOT_SET")
    found = surroundings_of(settings())
    assert {name: one.get_secret_value() for name, one in found.secrets.items()} == {
        "WAREHOUSE_PASSWORD": "hush"
    }
    assert home in found.hidden
    assert "hush" not in repr(found) + str(found.environment)


def test_stages_share_three_quarters_of_the_memory_that_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    there_is = measures.memory_there_is()
    assert 2**28 < there_is < 2**50
    assert bounds_of(settings()).memory_bytes == there_is * 3 // 4
    monkeypatch.setenv("LARDER_MEMORY_BYTES", str(2**30))
    assert bounds_of(settings()).memory_bytes == 2**30


def test_what_died_for_want_of_memory_says_so() -> None:
    ended = Ended(-9, killed_for_memory=True)
    said = limit_reached(ended, Bounds().of_stage(), Kind.STAGE)
    assert said
    assert "by the kernel for want of memory (exit code -9)" in said
    assert "LARDER_MEMORY_BYTES" in said
    assert limit_reached(Ended(-9), Bounds().of_stage(), Kind.STAGE) is None


def test_every_installed_library_counts_or_those_that_a_command_names(tmp_path: Path) -> None:
    (tmp_path / "Some_Thing-1.0.dist-info").mkdir()
    (tmp_path / "larder-9.dist-info").mkdir()
    assert installed((str(tmp_path),)) == {"some-thing": "1.0"}
    assert {"duckdb", "pydantic"} <= libraries_of("c", ()).keys()
    assert list(libraries_of("c", ("DuckDB",))) == ["duckdb"]
    with pytest.raises(RefusedError, match="no-such-thing; expected the name of a library that is installed"):
        libraries_of("c", ("no-such-thing",))
