"""SQL models: their order, what each may see, their tests, and what runs again when one changes."""

import re
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterType

from flows.tables.lineage import ModelError, check_models, in_order
from flows.tables.model import model
from flows.tables.sql import QueryError, place, references
from flows.tables.sql_model import Model
from flows.tables.table import Column, Table
from tests.processes import building
from tests.recipes import REAL, Answer, Product
from tests.wholeness import assert_whole

pytestmark = pytest.mark.usefixtures("quick")

TWICE = "select id::int * 2 as id, a from a where a is not null"
JOINED = "select twice.id, b.b from twice left join b on b.id::int = twice.id"
COUNTED = "select count(*) as rows from joined"
OTHER = "select upper(b) as b from b"
MODELS: dict[str, object] = {"counted": COUNTED, "joined": JOINED, "twice": TWICE, "other": OTHER}


@pytest.fixture
def modelled(product: Product) -> Product:
    """A product of four models: twice → joined → counted, and other."""
    product.kind = REAL
    with_models(product, MODELS)
    return product


def with_models(product: Product, models: dict[str, object]) -> None:
    product.recipe["stage_config"] = {"builds.build": {"models": dict(models)}}
    product.recipe["exports"] = {"datasets": [{"name": name, "format": "csv"} for name in models]}


def change(product: Product, **models: object) -> None:
    product.recipe["stage_config"]["builds.build"]["models"].update(models)


def outcomes(product: Product) -> dict[str, str]:
    """What became of each model, and of the stages behind them."""
    return {
        name.removeprefix("model "): outcome
        for name, outcome in product.last.outcomes.items()
        if name.startswith("model ") or name in {"build", "package"}
    }


def test_models_are_made_in_the_order_of_what_they_read(modelled: Product) -> None:
    answer = modelled.build()
    assert answer.exit_code == 0, answer.said
    assert set(outcomes(modelled).values()) == {"executed"}
    published = modelled.published
    assert published["twice.csv"] == b"id,a\n2,one\n"
    assert published["joined.csv"] == b"id,b\n2,\n"
    assert published["counted.csv"] == b"rows\n1\n"
    assert published["other.csv"] == b"b\nONE\n\n"
    assert_whole(modelled.bucket, "thing", "25Q1")
    modelled.build()
    assert set(outcomes(modelled).values()) == {"reused"}


def test_a_changed_model_runs_again_with_what_reads_it(modelled: Product) -> None:
    modelled.build()
    change(modelled, joined=f"{JOINED} where b.b is not null")
    modelled.build()
    assert outcomes(modelled) == {
        "joined": "executed",
        "counted": "executed",
        "build": "executed",
        "package": "executed",
        "twice": "reused",
        "other": "reused",
    }
    assert modelled.last.reasons["model joined"] == "argument definition changed: sql"


def test_nothing_follows_where_the_rows_came_out_the_same(modelled: Product) -> None:
    modelled.build()
    change(modelled, twice=TWICE.replace("id::int * 2", "id::int + id::int"))
    modelled.build()
    ran = {name for name, outcome in outcomes(modelled).items() if outcome == "executed"}
    assert ran == {"twice"}
    assert modelled.last.publish == "published"


def test_an_added_input_column_runs_only_what_reads_that_input(modelled: Product) -> None:
    modelled.build()
    modelled.offer("b", "2", "id,b\n1,uno\n2,due\n")
    modelled.inputs[1]["version"] = "2"
    modelled.build()
    ran = {name for name, outcome in outcomes(modelled).items() if outcome == "executed"}
    assert ran == {"joined", "counted", "other", "build", "package"}


def test_a_failed_model_does_not_stop_the_others(modelled: Product) -> None:
    change(modelled, joined="select nothing_of_that from twice")
    answer = modelled.build()
    assert answer.exit_code == 1
    assert answer.document["error"]["stage"] == "model"
    message = answer.document["error"]["message"]
    assert "joined" in message
    assert "nothing_of_that" in message
    assert outcomes(modelled) == {"twice": "executed", "other": "executed", "joined": "failed"}
    change(modelled, joined=JOINED)
    modelled.build()
    assert outcomes(modelled) == {
        "twice": "reused",
        "other": "reused",
        "joined": "executed",
        "counted": "executed",
        "build": "executed",
        "package": "executed",
    }


def test_one_thread_is_enough_for_a_chain_of_models(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LARDER_PARALLEL", "1")
    product.kind = REAL
    chain = {f"m{at}": f"select * from {'a' if at == 0 else f'm{at - 1}'}" for at in range(12)}
    with_models(product, dict(reversed(chain.items())))
    answer = product.build()
    assert answer.exit_code == 0, answer.said
    assert product.published["m11.csv"] == product.published["m0.csv"]


def test_another_home_makes_the_same_bytes(modelled: Product) -> None:
    modelled.build()
    with modelled.elsewhere() as other:
        other.build()
        assert other.published == modelled.published


def test_a_damaged_model_is_made_again(modelled: Product) -> None:
    modelled.build()
    document = modelled.bucket.document(modelled.last.result("model twice"))
    modelled.bucket.put(modelled.bucket.inside(document["artifacts"][0]), b"no parquet")
    modelled.build()
    assert outcomes(modelled)["twice"] == "healed"
    assert {outcomes(modelled)[name] for name in ("joined", "counted", "build", "package")} == {"reused"}


def test_a_killed_build_redoes_only_the_model_that_ran(modelled: Product) -> None:
    with building(modelled.read, hold_at="model joined") as killed:
        killed.until("model joined", "running")
        killed.process.kill()
        killed.process.join()
    assert modelled.build().exit_code == 0, modelled.last.said
    found = outcomes(modelled)
    assert (found["twice"], found["joined"], found["counted"]) == ("reused", "executed", "executed")


def test_forced_models_run_alone(modelled: Product) -> None:
    modelled.build()
    modelled.build("--force", "model:joined")
    assert {name for name, outcome in outcomes(modelled).items() if outcome == "executed"} == {"joined"}


@pytest.mark.parametrize(
    ("models", "place_of_it", "found", "expected"),
    [
        ({"m": "selec 1"}, "models.m", "syntax error at or near", "SELECT"),
        ({"m": "select 1; select 2"}, "models.m", "2 statements", "one SELECT"),
        ({"m": "copy a to 'x'"}, "models.m", "another statement", "one SELECT"),
        (
            {"m": "from a, read_csv('/etc/passwd')"},
            "models.m",
            "read_csv(…) as a table",
            "an input or a model",
        ),
        ({"m": "from '/etc/passwd'"}, "models.m", "/etc/passwd", "a, b"),
        ({"m": "from 's3://elsewhere/a.parquet'"}, "models.m", "s3://elsewhere", "a, b"),
        ({"m": "select current_setting('threads')"}, "models.m", "current_setting", "always give the same"),
        ({"m": "select now()"}, "models.m", "now", "always give the same"),
        ({"m": "from m"}, "models.m", "m, which reads itself", "do not depend"),
        ({"m": "from n", "n": "from m"}, "models.m", "m, n, which read each other", "do not depend"),
        ({"a": "from b"}, "models.a", "a, which a is called too", "a name that"),
        ({"m": "from a\n  join c using (id)"}, "models.m", "table c (line 2, column 8)", "a, b"),
        ({"m": {"sql": "from a", "tests": ["id >"]}}, "models.m.tests[0]", "syntax error", "SELECT"),
        (
            {
                "m": {
                    "sql": "from a",
                    "tests": [{"relationships": {"column": "id", "to": "z", "field": "id"}}],
                }
            },
            "models.m.tests[0].relationships.to",
            "table z",
            "a, b",
        ),
        (
            {"m": {"sql": "from a", "tests": [{"severity": "warn"}]}},
            "m.tests[0]",
            "a test of nothing",
            "not_null",
        ),
    ],
)
def test_sql_that_is_refused(
    product: Product, models: dict[str, object], place_of_it: str, found: str, expected: str
) -> None:
    product.kind = REAL
    with_models(product, models)
    product.recipe["exports"] = {"datasets": [{"name": next(iter(models)), "format": "csv"}]}
    answer = product.build()
    assert answer.exit_code == 2, answer.document
    message = answer.document["error"]["message"]
    for part in (place_of_it, found, expected):
        assert part in message
    assert not product.bucket.names()


def table(folder: Path, name: str, query: str) -> Table:
    """A table made by a query."""
    file = folder / f"{name}.parquet"
    with duckdb.connect() as connection:
        relation = connection.sql(query)
        relation.write_parquet(str(file))
        columns = zip(relation.columns, relation.types, strict=True)
        return Table(
            file=file, rows=0, columns=tuple(Column(name=one, type=str(kind)) for one, kind in columns)
        )


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Table]:
    """Runs a model over the tables `n` (numbers 0 to 9 with a null) and `k` (0 to 4)."""
    tables = {
        "n": table(tmp_path, "n", "select nullif(range, 7) as n, 'x' || range % 3 as kind from range(10)"),
        "k": table(tmp_path, "k", "select range as k from range(5)"),
    }
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    def run_model(sql: str, *tests: object) -> Table:
        return model("m", Model.model_validate({"sql": sql, "tests": tests}), tables, scratch=scratch)

    return run_model


def test_sums_of_integers_are_integers(run: Callable[..., Table]) -> None:
    made = run(
        'select sum(n) as s, sum(n) over () as "a b", 9007199254740993::hugeint as h from n group by n'
    )
    assert {column.type for column in made.columns} == {"BIGINT"}
    assert duckdb.sql(f"select max(h) from '{made.file}'").fetchall() == [(9007199254740993,)]
    ordered = run("select n % 5 as k, sum(n) as s, sum(n) as s from n where n > 0 group by k order by k desc")
    assert duckdb.sql(f"select k from '{ordered.file}'").fetchall() == [(4,), (3,), (2,), (1,), (0,)]
    assert [column.name for column in ordered.columns] == ["k", "s", "s_1"]
    nested = run("select {'s': sum(n), 'all': [sum(n)]} as x from n")
    assert duckdb.sql(f"select x from '{nested.file}'").fetchall() == [({"s": 38, "all": [38]},)]
    with pytest.raises(ModelError, match="out of range"):
        run("select sum(9223372036854775807) as s from n")


@pytest.mark.parametrize("end", [";", ";;", "; -- done", " -- done", "\n;\n/* done; */"])
def test_what_stands_behind_a_query_does_no_harm(run: Callable[..., Table], end: str) -> None:
    assert run(f"select * from n where kind <> ';'{end}").rows == 10


@pytest.mark.parametrize(
    "clock", ["current_localtimestamp()", "age(date '2020-01-01')", "pg_conf_load_time()"]
)
def test_clocks_are_refused(clock: str) -> None:
    with pytest.raises(QueryError, match="functions that always give the same"):
        references(f"select {clock}")
    assert references("select age(date '2021-01-01', date '2020-01-01')") == ()


def test_inputs_that_are_one_name_in_sql_are_told_apart_by_an_alias() -> None:
    problems = [str(problem) for problem in check_models({"m": Model(sql="from a")}, ("A", "a"))]
    assert any("A and a, which are one name in SQL" in problem for problem in problems)
    assert not list(check_models({}, ("A", "a")))


@pytest.mark.parametrize(
    "text", ["n < 9) limit (0", "n = 5) and (false", "n > 0, n", "n > 0 from k", "n as m"]
)
def test_a_test_is_one_expression(run: Callable[..., Table], text: str) -> None:
    with pytest.raises(ModelError):
        run("from n", text)


@pytest.mark.parametrize(
    ("test", "said"),
    [
        ({"not_null": "n"}, "not_null of n of model m does not hold for 1 rows, first: n None, kind 'x1'"),
        ({"unique": "kind"}, "unique of kind of model m does not hold for 3 rows, first: kind 'x0', times 4"),
        (
            {"accepted_values": {"column": "kind", "values": ["x0", "x1"]}},
            "accepted_values of kind of model m does not hold for 3 rows, first: n 2, kind 'x2'",
        ),
        (
            {"relationships": {"column": "n", "to": "k", "field": "k"}},
            "relationships of n to k.k of model m does not hold for 4 rows, first: n 5",
        ),
        ("n < 9", "(n < 9) of model m does not hold for 1 rows, first: n 9"),
    ],
)
def test_a_test_that_does_not_hold_fails_or_warns(run: Callable[..., Table], test: object, said: str) -> None:
    with pytest.raises(ModelError) as caught:
        run("from n", test)
    assert said in str(caught.value)
    given = {"expression": test} if isinstance(test, str) else dict(test)  # type: ignore[call-overload]
    warned = run("from n", {**given, "severity": "warn"})
    assert warned.warnings
    assert said in warned.warnings[0]
    assert warned.rows == 10


@pytest.mark.parametrize(
    "test",
    [
        {"not_null": ["kind"]},
        {"unique": "n"},
        {"unique": ["n", "kind"]},
        {"accepted_values": {"column": "kind", "values": ["x0", "x1", "x2"]}},
        {"relationships": {"column": "k", "to": "n", "field": "n"}},
        "n < 10 -- and a comment",
        "kind in (select kind from n)",
    ],
)
def test_a_test_that_holds_says_nothing(run: Callable[..., Table], test: object) -> None:
    assert not run("from n left join k on k = n;", test).warnings


def test_a_test_of_a_column_that_is_not_there_names_those_that_are(run: Callable[..., Table]) -> None:
    with pytest.raises(
        ModelError, match=r"not_null of m of model m: there is no column m; there are n, kind"
    ):
        run("from n", {"not_null": "m"})
    related = {"relationships": {"column": "n", "to": "k", "field": "kind"}}
    with pytest.raises(ModelError, match=r"there is no column kind; there are k\."):
        run("from n", related)


def test_a_query_reaches_nothing_else_even_if_it_was_not_checked(
    run: Callable[..., Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.tables.model.reads", lambda *_: [])
    for sql in ("from read_text('/etc/hostname')", "from '/etc/hostname'", "from glob('/*')"):
        with pytest.raises(ModelError):
            run(sql)
    with pytest.raises(ModelError):
        run("select 1) to '/tmp/larder-test-escaped' (format csv); select (1")
    assert not Path("/tmp/larder-test-escaped").exists()


def test_rows_come_in_the_same_order_and_bytes(run: Callable[..., Table], tmp_path: Path) -> None:
    sql = "select kind, sum(n / 3.0) as s, list(n) as l from n, range(3000) group by kind"
    made = {Path(str(run(sql).file)).read_bytes() for _ in range(5)}
    assert len(made) == 1


def test_names_are_found_whatever_their_case_and_with_shadows() -> None:
    query = "with A as (from b), recursive_one as (select 1) select * from A join B using (x), c, (from a) d"
    assert [one.name for one in references(query)] == ["b", "c"]
    with pytest.raises(QueryError) as caught:
        references("select 'ä'\n, random()")
    assert caught.value.at is not None
    assert place("select 'ä'\n, random()", caught.value.at) == "line 2, column 3"


def test_models_that_stand_in_any_order_are_sorted() -> None:
    models = {name: Model(sql=str(sql)) for name, sql in MODELS.items()}
    assert in_order(models, ("a", "b")) == {
        "twice": ["a"],
        "other": ["b"],
        "joined": ["b", "twice"],
        "counted": ["joined"],
    }
    assert not list(check_models(models, ("a", "b")))


def test_warnings_stand_in_the_result_and_in_what_is_said(
    modelled: Product, caplog: pytest.LogCaptureFixture
) -> None:
    change(modelled, twice={"sql": TWICE, "tests": [{"expression": "id > 2", "severity": "warn"}]})
    answer = modelled.build()
    assert answer.exit_code == 0, answer.said
    warning = "test (id > 2) of model twice does not hold for 1 rows, first: id 2, a 'one'"
    document = modelled.bucket.document(answer.result("model twice"))
    assert document["returned"]["warnings"] == [warning]
    logged = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert logged == [f"model twice: {warning}"]
    assert f"\n  warning: {warning}\n" in answer.said
    assert f"- model twice: {warning}" in page(answer)
    again = modelled.build()
    assert re.search(r"model twice: reused \w+ \(1 warning\)\n", again.said)
    assert f"- model twice: {warning}" in page(again)


def page(answer: Answer) -> str:
    """What the Prefect UI shows of the run."""
    asked = ArtifactFilter(
        flow_run_id=ArtifactFilterFlowRunId(any_=[answer.document["flow_run_id"]]),
        type=ArtifactFilterType(any_=["markdown"]),
    )
    with get_client(sync_client=True) as client:
        return str(client.read_artifacts(artifact_filter=asked)[0].data)


def test_a_lock_file_builds_the_same_bytes_in_another_home(modelled: Product) -> None:
    for entry in modelled.inputs:
        del entry["version"]
    modelled.build()
    lock = modelled.folder / "recipe.lock.yml"
    lock.write_bytes(modelled.published["recipe.lock.yml"])
    modelled.offer("a", "2", "id,a\n7,new\n")
    with modelled.elsewhere() as other:
        other.file = lock
        assert other.build().exit_code == 0, other.last.said
        assert other.published == modelled.published
    assert modelled.build("--locked").publish == "unchanged"
    assert modelled.build().publish == "published"


def test_the_text_of_a_recipe_with_models_survives_its_lock(modelled: Product) -> None:
    change(modelled, twice={"sql": TWICE + "\n", "tests": [{"unique": "id"}, "id > 0"]})
    modelled.build()
    before = modelled.published
    answer = modelled.build("--locked")
    assert answer.exit_code == 0, answer.said
    assert modelled.published == before
