"""`larder explain`: what would run and why. It is never wrong."""

import json
import os
import random
import subprocess
import sys
from typing import Any

import pytest

from cli.main import main
from flows.build.recipe.schema import is_floating
from larder.forecast import Entry, Will
from larder.settings import CHECKOUT
from tests.explained import explained
from tests.recipes import REAL, SIMULATED, Product

pytestmark = pytest.mark.usefixtures("quick")

EDITS = 25
QUERIES = {
    "twice": (
        "select id::int * 2 as id, a from a",
        "select id::int + id::int as id, a from a",
        "select id, a from a",
    ),
    "joined": (
        "from twice join b using (id)",
        "select b.b from b left join twice on b.id::int = twice.id::int",
    ),
    "counted": ("select count(*) as rows from joined", "select 2 as rows from joined limit 1"),
}
RUNS = {
    "count": ("wc words.txt > counted", "cat words.txt | wc > counted"),
    "write": (
        'cp "$LARDER_INPUT_DIR/a.parquet" "$LARDER_OUTPUT_DIR/made.parquet"',
        'cp "$LARDER_INPUT_DIR/b.parquet" "$LARDER_OUTPUT_DIR/made.parquet"',
    ),
}
WORDS = ("one\n", "two\n")
READ: tuple[dict[str, Any], ...] = ({}, {"custom": {"delimiter": ","}}, {"file_type": "csv"})


def said(product: Product) -> dict[str, Entry]:
    """What explain says, by the stage's title."""
    return {forecast.title: forecast for forecast in explained(product.read, product.folder)}


def compare(product: Product) -> dict[str, Entry]:
    """Explain, build, and see that all of it was true."""
    forecasts = said(product)
    answer = product.build()
    assert answer.exit_code == 0, answer.said
    keys = {(step["stage"], step["dataset"]): step["key"] for step in answer.document["stages"]}
    assert set(keys) == {(one.stage, one.label) for one in forecasts.values()}
    floating = is_floating(product.read)
    for title, forecast in forecasts.items():
        outcome = answer.outcomes[title]
        match forecast.will:
            case Will.RUN:
                assert outcome in {"executed", "healed"}, forecast
            case Will.REUSE:
                assert outcome == "reused", forecast
        if forecast.stage != "plan" or not floating:
            assert forecast.key in {None, keys[forecast.stage, forecast.label]}
        if forecast.will is Will.RUN and outcome == "executed":
            assert answer.reasons[title] == forecast.reason
    return forecasts


@pytest.mark.parametrize("kind", [SIMULATED, REAL])
def test_before_and_after_a_build(product: Product, kind: str) -> None:
    product.kind = kind
    first = compare(product)
    assert {title: (one.will, one.reason) for title, one in first.items()} == {
        "plan": ("run", "never built"),
        "load a": ("run", "never built"),
        "load b": ("run", "never built"),
        "build": ("unknown", "depends on load a, load b"),
        "package": ("unknown", "depends on build"),
    }
    again = compare(product)
    assert {one.will for one in again.values()} == {"reuse"}
    assert all(one.reason.startswith("made 20") for one in again.values())


def test_what_changed_is_named(product: Product) -> None:
    product.kind = REAL
    product.build()
    product.recipe["exports"]["datasets"][0]["format"] = "parquet"
    forecasts = compare(product)
    assert forecasts["plan"].reason == "argument recipe changed: exports.datasets[0].format"
    assert forecasts["package"].reason == "argument exports changed: datasets[0].format"
    product.recipe["version"] = "25Q2"
    forecasts = compare(product)
    assert forecasts["build"].reason == "argument version changed from 25Q1 to 25Q2"
    assert forecasts["load a"].will is Will.REUSE


def test_damage_is_seen(product: Product) -> None:
    product.build()
    document = product.bucket.document(product.last.result("load b"))
    name = product.bucket.inside(document["artifacts"][0])
    product.bucket.put(name, b"no parquet")
    forecasts = compare(product)
    assert forecasts["load b"].will is Will.RUN
    assert name in forecasts["load b"].reason
    assert forecasts["build"].will is Will.UNKNOWN
    product.bucket.delete(product.bucket.inside(product.last.result("package")))
    assert compare(product)["package"].reason == "never built"


def test_a_floating_recipe_is_planned_anew_and_the_rest_reused(product: Product) -> None:
    product.kind = REAL
    del product.inputs[0]["version"]
    compare(product)
    forecasts = compare(product)
    assert (forecasts["plan"].will, forecasts["plan"].reason) == (
        Will.RUN,
        "it is resolved anew by every run",
    )
    assert {one.will for title, one in forecasts.items() if title != "plan"} == {Will.REUSE}
    product.offer("a", "2", "id,a\n1,two\n")
    assert compare(product)["load a"].will is Will.RUN


@pytest.fixture
def edited(product: Product) -> Product:
    """A product of inputs, models, commands and a file of theirs."""
    product.kind = REAL
    product.offer("b", "2", "id,b\n2,three\n")
    (product.folder / "words.txt").write_text(WORDS[0])
    product.recipe["stage_config"] = {
        "builds.build": {
            "models": {name: queries[0] for name, queries in QUERIES.items()},
            "commands": [{"name": name, "run": runs[0]} for name, runs in RUNS.items()],
            "files": ["words.txt"],
            "tables": ["made"],
        }
    }
    product.recipe["exports"] = {"datasets": [{"name": name, "format": "csv"} for name in [*QUERIES, "made"]]}
    return product


def edit(product: Product, chance: random.Random) -> None:
    """Change one thing of the recipe, or let the bucket lose or damage something."""
    build = product.recipe["stage_config"]["builds.build"]
    match chance.randrange(7):
        case 0:
            model = chance.choice(list(QUERIES))
            build["models"][model] = chance.choice(QUERIES[model])
        case 1:
            (product.folder / "words.txt").write_text(chance.choice(WORDS))
        case 2:
            command = chance.choice(build["commands"])
            command["run"] = chance.choice(RUNS[command["name"]])
        case 3:
            chance.choice(product.recipe["exports"]["datasets"])["format"] = chance.choice(("csv", "json"))
        case 4:
            product.inputs[1] = {"id": "b", "version": chance.choice("12"), **chance.choice(READ)}
        case 5:
            product.bucket.delete(chance.choice(product.bucket.names("results/")))
        case 6:
            product.bucket.put(chance.choice(product.bucket.names("artifacts/")), b"damaged")


def test_it_is_never_wrong_whatever_was_edited_or_lost(edited: Product) -> None:
    chance = random.Random(7)
    told = {(one.stage, one.will) for one in compare(edited).values()}
    for _ in range(EDITS):
        edit(edited, chance)
        told |= {(one.stage, one.will) for one in compare(edited).values()}
    for stage in ("model", "command", "package"):
        assert {(stage, will) for will in Will} <= told


def test_the_command_needs_no_server(product: Product) -> None:
    product.build()
    words = [word for word in product.command()[1:] if word != "--json"]
    command = [sys.executable, "-m", "cli.main", "explain", *words]
    nowhere = {**os.environ, "PREFECT_API_URL": "http://127.0.0.1:9/api"}
    done = subprocess.run(command, check=True, cwd=CHECKOUT, env=nowhere, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert lines[0].split()[:2] == ["plan", "reuse"]
    assert lines[-1] == "0 would run, 5 would be reused."
    done = subprocess.run(
        [*command, "--json"], check=True, cwd=CHECKOUT, env=nowhere, capture_output=True, text=True
    )
    found: list[dict[str, Any]] = json.loads(done.stdout)
    assert [set(one) for one in found] == [{"stage", "dataset", "key", "will", "reason"}] * 5
    assert [one["key"] for one in found] == [step["key"] for step in product.last.document["stages"]]


def test_a_wrong_recipe_is_refused_and_a_store_out_of_reach_fails(
    product: Product, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = product.command()[1:]
    product.recipe["produce"] = "thing"
    product.command()
    assert main(["explain", *words]) == 2
    assert "produce (line" in capsys.readouterr().err
    del product.recipe["produce"]
    product.command()
    monkeypatch.setenv("LARDER_S3_ENDPOINT_URL", "http://127.0.0.1:9")
    assert main(["explain", *words]) == 1
    assert "http://127.0.0.1:9" in capsys.readouterr().err
