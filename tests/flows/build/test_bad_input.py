"""What is wrong is said with its place and what is valid; exit code 2, and nothing is written."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cli.main import main
from larder.settings import Settings
from tests.services import Store

GOOD = """
name: Good
product: good
version: 24Q4
inputs:
  datasets:
    - {id: bpl_libraries, version: "20240105", file_type: csv}
exports:
  datasets:
    - {name: bpl_libraries, format: csv}
"""
SIMULATED = GOOD + "simulate: {}\n"
BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n" + GOOD

TEXTS = {
    "empty": ("", "nothing"),
    "not YAML": ("name: [", "YAML"),
    "a list": ("- a\n- b\n", "mapping"),
    "two documents": (f"{GOOD}---\n{GOOD}", "one document"),
    "aliases": (BOMB, "alias"),
    "a tag": (GOOD.replace("name: Good", "name: !!python/name:os.system"), "tag"),
    "too large": (GOOD + "# " + "x" * 1_000_001, "1"),
    "unknown key": (GOOD.replace("product:", "produkt:"), "product"),
    "misspelt key of an input": (GOOD.replace("file_type: csv", "file_tipe: csv"), "file_type"),
    "missing key": (GOOD.replace("product: good\n", ""), "product"),
    "wrong type": (GOOD.replace("datasets:\n    - {id", "datasets: 3\n  other:\n    - {id"), "datasets"),
    "product above": (GOOD.replace("product: good", "product: ../good"), "../good"),
    "product with a slash": (GOOD.replace("product: good", "product: a/b"), "a/b"),
    "empty product": (GOOD.replace("product: good", "product: ''"), "product"),
    "long product": (GOOD.replace("product: good", f"product: {'p' * 300}"), "100"),
    "control characters": (GOOD.replace("product: good", 'product: "a\\u0007b"'), "product"),
    "dataset above": (GOOD.replace("id: bpl_libraries", "id: ../bpl"), "../bpl"),
    "export above": (GOOD.replace("name: bpl_libraries, format", "name: ../x, format"), "../x"),
    "version above": (GOOD.replace('"20240105"', '"../x"'), "../x"),
    "own version above": (GOOD.replace("24Q4", "../x"), "../x"),
    "same input twice": (
        GOOD.replace("exports:", '    - {id: bpl_libraries, version: "20240105", file_type: csv}\nexports:'),
        "bpl_libraries",
    ),
    "undefined variable": (GOOD.replace("name: Good", "name: '{{ NOWHERE }}'"), "NOWHERE"),
    "attribute of a variable": (GOOD.replace("name: Good", "name: '{{ \"\".__class__ }}'"), "__class__"),
    "includes itself": (f"base_recipe: recipe.yml\n{GOOD}", "recipe.yml"),
    "export of no table": (GOOD.replace("name: bpl_libraries, format", "name: nothing, format"), "nothing"),
    "format that is not written": (GOOD.replace("format: csv", "format: dat"), "dat"),
    "unknown format": (GOOD.replace("format: csv", "format: doc"), "parquet"),
    "option of an input": (
        GOOD.replace("type: csv", "type: csv, custom: {delimiter: '::'}"),
        "one character",
    ),
    "option of an export": (
        GOOD.replace("format: csv", "format: csv, custom: {line_endings: cr}"),
        "lf or crlf",
    ),
    "file type that is not read": (GOOD.replace("file_type: csv", "file_type: pg_dump"), "pg_dump"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_wrong_recipe_is_refused(
    name: str, larder: Settings, s3: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, said = TEXTS[name]
    recipe = tmp_path / "recipe.yml"
    recipe.write_text(text)
    assert main(["build", str(recipe)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Refused: ")
    assert "Traceback" not in err
    assert said.lower() in err.lower()
    assert "expected" in err
    assert written(s3, larder) == []


@pytest.mark.parametrize("words", [["nowhere.yml"], ["."]])
def test_what_is_no_file_is_refused(
    words: list[str], larder: Settings, s3: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["build", *words]) == 2
    assert words[0] in capsys.readouterr().err
    assert written(s3, larder) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--force", "trian"], "one of plan, load, model, command, build, package"),
        (["--fail-at", "biuld"], "did you mean build?"),
        (["--var", "NAME"], "NAME=VALUE"),
        (["--var", "1X=2"], "NAME=VALUE"),
        (["--simulate", "--real"], "--simulate and --real; expected one of them"),
        (["--locked=../x"], "a published version"),
        (["--nonsense"], "--nonsense"),
        (["--locked"], "none is published yet"),
    ],
)
def test_wrong_words_are_refused(
    words: list[str],
    said: str,
    larder: Settings,
    s3: Store,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = tmp_path / "recipe.yml"
    recipe.write_text(SIMULATED)
    assert main(["build", str(recipe), *words]) == 2
    assert said in capsys.readouterr().err
    assert written(s3, larder) == []


def test_a_refusal_is_one_json_document_on_stdout(
    larder: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.yml"
    recipe.write_text(GOOD.replace("product:", "produkt:"))
    assert main(["build", str(recipe), "--json"]) == 2
    out, err = capsys.readouterr()
    answer = json.loads(out)
    assert answer["state"] == "refused"
    assert answer["stages"] == []
    assert answer["package"] is None
    assert answer["error"] == {"stage": None, "key": None, "message": err.removeprefix("Refused: ").strip()}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("bpl_libraries", "qpl_libraries"), "bpl_libraries"),
        (('"20240105"', '"20990101"'), "20240105"),
    ],
)
def test_what_the_catalog_does_not_have_is_refused_by_plan(
    change: tuple[str, str],
    said: str,
    stack: Settings,
    s3: Store,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from prefect.client.orchestration import get_client

    recipe = tmp_path / "recipe.yml"
    recipe.write_text(GOOD.replace(*change))
    assert main(["build", str(recipe), "--json"]) == 2
    out, err = capsys.readouterr()
    answer = json.loads(out)
    assert said in answer["error"]["message"]
    assert answer["error"]["message"] in err
    assert answer["state"] == "refused"
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(answer["flow_run_id"]).state
    assert state
    assert (state.type.value, state.name) == ("FAILED", "Refused")
    assert written(s3, stack) == []


@contextmanager
def silent_server() -> Iterator[str]:
    """A server that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        accepted: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    accepted.append(server.accept()[0])
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        for connection in accepted:
            connection.close()


@contextmanager
def nobody() -> Iterator[str]:
    """An address where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("missing", [silent_server, nobody])
@pytest.mark.parametrize("what", ["LARDER_S3_ENDPOINT_URL", "LARDER_CATALOG_URL"])
def test_what_cannot_be_reached_fails_within_half_a_minute(
    what: str,
    missing,
    stack: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = tmp_path / "recipe.yml"
    recipe.write_text(GOOD.replace('"20240105"', "latest"))
    with missing() as url:
        monkeypatch.setenv(what, url)
        began = time.monotonic()
        assert main(["build", str(recipe)]) == 1
        assert time.monotonic() - began < 30
    err = capsys.readouterr().err
    assert err.startswith("Failed: ")
    assert url in err


def test_no_server_is_said_with_how_to_start_one(
    larder: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.yml"
    recipe.write_text(SIMULATED)
    with nobody() as url:
        monkeypatch.setenv("PREFECT_API_URL", f"{url}/api")
        assert main(["build", str(recipe)]) == 1
    err = capsys.readouterr().err
    assert f"{url}/api" in err
    assert "./setup.sh" in err


def written(s3: Store, now: Settings) -> list[str]:
    """Every object in the bucket."""
    found = s3.client.list_objects_v2(Bucket=now.bucket_name)
    return [item["Key"] for item in found.get("Contents", ())]
