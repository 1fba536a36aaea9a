"""What runs again, and what does not: the table of the design, row by row."""

import copy
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest
from prefect import get_client
from prefect.flow_engine import run_flow
from prefect.settings import PREFECT_API_URL, temporary_settings

from blocks.register import register
from blocks.storage import register_blocks
from cli.server import Server
from flows.build.flow import build
from larder.orchestration.flow import flow_of
from larder.report import UI_TYPE
from larder.settings import CHECKOUT, settings
from larder.stage import StageFailed
from stack.ports import HOST, free_ports
from stack.registration import START_RUN
from stack.servers import prefect_server
from tests.processes import building
from tests.proxy import proxied
from tests.recipes import REAL, SIMULATED, Answer, Bucket, Product, sealed
from tests.services import START_SECONDS, Store
from tests.wholeness import assert_whole

pytestmark = pytest.mark.usefixtures("quick")

BOTH = (SIMULATED, REAL)
NOTHING_RUNS = "R RR R R unchanged"
ONLY_PLAN_RUNS = "X RR R R unchanged"
FIRST_DAY, NEXT_DAY = "Pacific/Pago_Pago", "Pacific/Kiritimati"
"""Time zones 25 hours apart: it is never the same day in both."""
STAGES = ("plan", "load b", "build", "package")
MADE = {"plan": "plan", "load": "load b", "build": "build", "package": "package"}
REWRITTEN = """
# The same recipe.
exports: {"datasets": [{format: 'csv', name: "a"}, {format: parquet, name: b}], zip_name: thing}
"inputs":
    datasets:
    -   version:   "1"     # and quoted
        id: a

    -   {id: 'b', version: 1}
version: '25Q1'
product: thing
name: "Thing"
"""
PICKLED = b'{"metadata": {"serializer": {"type": "pickle"}}, "result": "gASVBQAAAAAAAAAu"}'
M1 = "select id, a from a where id = '1'"
Change = Callable[[Product], object]


def nothing(product: Product) -> None:
    """Leave it as it is."""


def built(product: Product) -> None:
    """Build it to the end."""
    assert product.build().exit_code == 0, product.last.said


def failed(product: Product) -> None:
    """Build it, and see it fail."""
    assert product.build().exit_code == 1, product.last.said


@dataclass(frozen=True)
class Row:
    """One row of the table."""

    case: str
    expected: str
    """plan, loads of a and b, build, package, publish. R reused, X executed, H healed."""
    change: Change = nothing
    """What happens between the two builds. It may return a word that the run must say about it."""
    kinds: tuple[str, ...] = BOTH
    given: Change = nothing
    first: Change = built
    again: Callable[[Product], Answer] = Product.build
    elsewhere: Callable[[Product], Answer] = Product.build
    """How an empty bucket comes to the same package."""


def floating(product: Product) -> None:
    for entry in product.inputs:
        del entry["version"]


def rewrite(product: Product) -> None:
    product.text = REWRITTEN


def reverse_inputs(product: Product) -> None:
    product.inputs.reverse()


def take_time(product: Product) -> None:
    product.recipe["simulate"] = {"seconds": {"load": 0.01, "build": 0.01, "package": 0.01}}


def export_as_csv(product: Product) -> None:
    product.recipe["exports"]["datasets"][1]["format"] = "csv"


def export_only_a(product: Product) -> None:
    del product.recipe["exports"]["datasets"][1]


def with_build(**parts: object) -> Change:
    def change(product: Product) -> None:
        product.recipe["stage_config"] = {"builds.build": parts}

    return change


def modelled(product: Product) -> None:
    """Two models of a, the second of which reads the first, and one of b."""
    models = {
        "m1": M1,
        "m2": "select id, a from m1",
        "m3": "select b from b",
    }
    with_build(models=models)(product)
    export("m2", "m3")(product)


def with_model(name: str, definition: object) -> Change:
    def change(product: Product) -> None:
        product.recipe["stage_config"]["builds.build"]["models"][name] = definition

    return change


def with_a_wrong_model(product: Product) -> None:
    modelled(product)
    with_model("m1", "select nothing from a")(product)


def commanded(product: Product) -> None:
    """Three commands; the first uses a file, the last writes the table that is exported."""
    (product.folder / "words.txt").write_text("words\n")
    write = 'cp "$LARDER_INPUT_DIR/a.parquet" "$LARDER_OUTPUT_DIR/made.parquet"'
    runs = {"c1": "cp words.txt copied.txt", "c2": "wc copied.txt > counted.txt", "c3": write}
    commands = [{"name": name, "run": run} for name, run in runs.items()]
    with_build(files=["words.txt"], tables=["made"], commands=commands)(product)
    export("made")(product)


def with_command(at: int, **parts: object) -> Change:
    def change(product: Product) -> None:
        product.recipe["stage_config"]["builds.build"]["commands"][at].update(parts)

    return change


def change_a_file(product: Product) -> None:
    (product.folder / "words.txt").write_text("other words\n")


def export(*tables: str, **parts: object) -> Change:
    def change(product: Product) -> None:
        exports = [{"name": name, "format": "csv", **copy.deepcopy(parts)} for name in tables]
        product.recipe["exports"]["datasets"] = exports

    return change


def another_version(product: Product) -> None:
    product.recipe["version"] = "25Q2"


def after_the_first_version(product: Product) -> Answer:
    """Build the version before this one first: commands are told of it."""
    product.recipe["version"] = "25Q1"
    product.build()
    another_version(product)
    return product.build()


def read_b_otherwise(product: Product) -> None:
    product.inputs[1]["custom"] = {"delimiter": ","}


def read_b_as_json(product: Product) -> None:
    (product.catalog / "b/1/b.json").write_text('[{"id": 1, "b": "one"}]')
    product.inputs[1]["file_type"] = "json"


def with_env(product: Product) -> None:
    product.recipe["env"] = {"WHERE": "here"}


def pin_to_new_rows(product: Product) -> None:
    offer_new_rows(product)
    product.inputs[1]["version"] = "2"


def pin_to_same_rows(product: Product) -> None:
    product.offer("b", "2", (product.catalog / "b/1/b.csv").read_text())
    product.inputs[1]["version"] = "2"


def pin_a_to_new_rows(product: Product) -> None:
    product.offer("a", "2", "id,a\n3,three\n")
    product.inputs[0]["version"] = "2"


def offer_new_rows(product: Product) -> None:
    product.offer("b", "2", "id,b\n3,three\n")


def move_catalog(product: Product) -> None:
    moved = product.catalog.rename(product.folder / "moved")
    product.environment.setenv("LARDER_CATALOG_URL", str(moved))


def import_b_as_c(product: Product) -> None:
    product.inputs[1]["import_as"] = "c"
    product.recipe["exports"]["datasets"][1]["name"] = "c"


def another_product(product: Product) -> None:
    product.recipe |= {"name": "Other", "product": "other"}


def dated(product: Product) -> None:
    del product.recipe["version"]
    product.recipe["version_strategy"] = "today"
    product.environment.setenv("LARDER_TIMEZONE", FIRST_DAY)


def next_day(product: Product) -> None:
    product.environment.setenv("LARDER_TIMEZONE", NEXT_DAY)


def unreadable_b(product: Product) -> None:
    product.offer("b", "1", 'id,b\n1,"one\n')


def readable_b(product: Product) -> None:
    product.offer("b", "1", "id,b\n1,one\n")


def killed_at(stage: str, *whole: str) -> Change:
    """A build whose process is killed in the middle of a stage, when others are whole."""

    def build(product: Product) -> None:
        with building(product.read, hold_at=stage) as killed:
            killed.until(stage, "running")
            for title in whole:
                killed.until(title, "executed")
            killed.process.kill()

    return build


def on_another_server(product: Product) -> Answer:
    """Build with a Prefect server that knows nothing but the blocks."""
    port = free_ports(1)[0]
    server = prefect_server(product.folder, port)
    server.start()
    try:
        server.wait(START_SECONDS)
        url = f"http://{HOST}:{port}/api"
        with temporary_settings({PREFECT_API_URL: url}):
            register_blocks(settings())
        return product.build_apart(PREFECT_API_URL=url)
    finally:
        server.stop()


def edit_and_build(product: Product) -> None:
    export_as_csv(product)
    product.build()
    product.recipe["exports"]["datasets"][1]["format"] = "parquet"


def asking(*options: str) -> Callable[[Product], Answer]:
    def build(product: Product) -> Answer:
        return product.build(*options)

    return build


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def with_another_byte(content: bytes) -> bytes:
    return bytes([content[0] ^ 1]) + content[1:]


def with_another_field(content: bytes) -> bytes:
    document = json.loads(content)
    return json.dumps({**document, "made": {**document["made"], "seconds": 1234.5}}).encode()


def a_pickle(content: bytes) -> bytes:
    return PICKLED


def of_another_key(content: bytes) -> bytes:
    document = {**json.loads(content), "key": 64 * "0"}
    return json.dumps({**document, "sha256": sealed(document)}).encode()


def damage_result(stage: str, damage: Callable[[bytes], bytes] | None) -> Change:
    def change(product: Product) -> str | None:
        name = product.bucket.inside(product.last.result(stage))
        return damaged(product.bucket, name, damage) if damage else product.bucket.delete(name)

    return change


def damage_artifact(stage: str, damage: Callable[[bytes], bytes] | None) -> Change:
    def change(product: Product) -> str:
        uri = product.bucket.document(product.last.result(stage))["artifacts"][0]
        return damaged(product.bucket, product.bucket.inside(uri), damage)

    return change


def damage_published(name: str, damage: Callable[[bytes], bytes] | None) -> Change:
    def change(product: Product) -> None:
        damaged(product.bucket, f"packages/thing/25Q1/{name}", damage)

    return change


def damaged(bucket: Bucket, name: str, damage: Callable[[bytes], bytes] | None) -> str:
    content = bucket.read(name)
    if damage is None:
        bucket.delete(name)
    else:
        bucket.put(name, damage(content))
    return name


def one_letter(stage: str, letter: str) -> str:
    """The row in which one stage has this letter."""
    letters = {name: letter if name == stage else "R" for name in STAGES}
    return f"{letters['plan']} R{letters['load b']} {letters['build']} {letters['package']} unchanged"


def damage_rows() -> Iterator[Row]:
    """Every damage to a load and to package, and one of each sort to every stage."""
    for stage in STAGES:
        yield Row(f"result of {stage} deleted", one_letter(stage, "X"), damage_result(stage, None))
        healed = one_letter(stage, "H")
        thorough = stage in ("load b", "package")
        for damage in (truncated, with_another_field, a_pickle, of_another_key) if thorough else (truncated,):
            case = f"result of {stage} {damage.__name__}"
            yield Row(case, healed, damage_result(stage, damage), kinds=(SIMULATED,))
        for change in (with_another_byte, None, truncated) if thorough else (with_another_byte,):
            case = f"artifact of {stage} {change.__name__ if change else 'deleted'}"
            # A real build without models gives its inputs, so its artifacts are those of its loads.
            kinds = BOTH if change is with_another_byte and stage != "build" else (SIMULATED,)
            yield Row(case, healed, damage_artifact(stage, change), kinds=kinds)


def by_code(edit: Callable[[Path], None]) -> Callable[[Product], Answer]:
    """Build by a copy of the code that was edited."""

    def build(product: Product) -> Answer:
        copied = product.folder / "code"
        if not copied.exists():
            for package in ("blocks", "cli", "flows", "larder"):
                shutil.copytree(CHECKOUT / package, copied / package)
            edit(copied)
        return product.build_apart(code=copied)

    return build


def adding_code(module: str) -> Callable[[Product], Answer]:
    def edit(code: Path) -> None:
        with (code / f"flows/build/stages/{module}.py").open("a") as text:
            text.write("\n\nADDED = 1\n")

    return by_code(edit)


def rename_a_column(code: Path) -> None:
    module = code / "flows/tables/data_dictionary.py"
    text = module.read_text()
    assert text.count('"example")') == 1
    module.write_text(text.replace('"example")', '"sample")'))


def add_comments(code: Path) -> None:
    for module in code.glob("flows/**/*.py"):
        lines = module.read_text().replace('"""', '"""Said otherwise. ', 1)
        module.write_text(f"# A new comment.\n{lines}\n\n# Another one.\n")


def another_duckdb(code: Path) -> None:
    info = code / "duckdb-99.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: duckdb\nVersion: 99.0\n")


def locked_elsewhere(product: Product) -> Answer:
    """Build version 1 of each input, which is what the lock says."""
    for entry in product.inputs:
        entry["version"] = "1"
    return product.build()


MODELS: list[tuple[str, str, Change]] = [
    ("models, nothing changed", "R RR RRR R R unchanged", nothing),
    ("a model changed", "X RR XXR X X published", with_model("m1", "select id, a from a")),
    (
        "a model changed, the same rows",
        "X RR XRR R R published",
        with_model("m1", "select id, a from a where id::int = 1"),
    ),
    (
        "a test of a model added",
        "X RR RXR R R published",
        with_model("m2", {"sql": "select id, a from m1", "tests": [{"unique": "id"}]}),
    ),
    (
        "a test that warns added to a model",
        "X RR XRR R R published",
        with_model("m1", {"sql": M1, "tests": [{"expression": "id = '2'", "severity": "warn"}]}),
    ),
    ("an input of one model changed", "X RX RRX X X published", pin_to_new_rows),
    ("a model exported in another format", "X RR RRR R X published", export("m2", "m3", format="json")),
    ("a model that was not exported is", "X RR RRR R X published", export("m1", "m2", "m3")),
    ("models, another version", "X RR RRR X X published", another_version),
]
COMMANDS: list[tuple[str, str, Change]] = [
    ("commands, nothing changed", "R RR RRR R R unchanged", nothing),
    ("a command changed, the same table", "X RR RXX R R published", with_command(1, run="true")),
    (
        "a command changed, another table",
        "X RR RRX X X published",
        with_command(2, run='cp "$LARDER_INPUT_DIR/b.parquet" "$LARDER_OUTPUT_DIR/made.parquet"'),
    ),
    ("the env of a command changed", "X RR RXR R R published", with_command(1, env={"A": "b"})),
    ("the limit of a command changed", "X RR RRR R R published", with_command(1, limit_seconds=60)),
    ("a file of the commands changed", "R RR XXX R R unchanged", change_a_file),
]
ROWS = [
    Row("nothing changed", NOTHING_RUNS),
    Row("nothing changed, floating", ONLY_PLAN_RUNS, given=floating),
    Row("comments, key order, quoting, white space", NOTHING_RUNS, rewrite, kinds=(REAL,)),
    Row("the catalog's place changed", NOTHING_RUNS, move_catalog, kinds=(REAL,)),
    Row("order of inputs", "X RR R R published", reverse_inputs),
    Row("simulated seconds", "X RR R R published", take_time, kinds=(SIMULATED,)),
    Row("exports changed", "X RR R X published", export_as_csv),
    Row("a table less exported", "X RR R X published", export_only_a, kinds=(REAL,)),
    Row("a table less exported", "X RR X X published", export_only_a, kinds=(SIMULATED,)),
    Row("env changed", "X RR X R published", with_env),
    Row("env of the build changed", "X RR X R published", with_build(env={"WHERE": "here"}), kinds=(REAL,)),
    Row(
        "a connector argument changed",
        "X RR X R published",
        with_build(connector_args=[{"name": "acl", "value": "private"}]),
        kinds=(REAL,),
        given=with_build(connector_args=[{"name": "acl", "value": "public"}]),
    ),
    Row(
        "a command changed",
        "X RR X R published",
        with_build(commands=[{"name": "one", "run": "after"}]),
        kinds=(SIMULATED,),
        given=with_build(commands=[{"name": "one", "run": "before"}]),
    ),
    Row(
        "a model changed",
        "X RR X R published",
        with_build(models={"a": "select 2"}),
        kinds=(SIMULATED,),
        given=with_build(models={"a": "select 1"}),
    ),
    *(Row(*row, given=modelled, kinds=(REAL,)) for row in MODELS),
    *(Row(*row, given=commanded, kinds=(REAL,)) for row in COMMANDS),
    Row(
        "one of several models failed, run again",
        "X RR XXR X X published",
        with_model("m1", "select id, a from a"),
        kinds=(REAL,),
        given=with_a_wrong_model,
        first=failed,
    ),
    Row(
        "commands, another version",
        "X RR XXX X X published",
        another_version,
        kinds=(REAL,),
        given=commanded,
        elsewhere=after_the_first_version,
    ),
    Row("an export in another format", "X RR R X published", export("a", "b", format="xlsx"), kinds=(REAL,)),
    Row(
        "an export written otherwise",
        "X RR R X published",
        export("a", "b", custom={"line_endings": "crlf"}),
        kinds=(REAL,),
    ),
    Row("an input read otherwise, the same rows", "X RX R R published", read_b_otherwise, kinds=(REAL,)),
    Row("an input as another file type", "X RX X X published", read_b_as_json, kinds=(REAL,)),
    Row("an input pinned to another version", "X RX X X published", pin_to_new_rows),
    Row("another version with the same rows", "X RX R X published", pin_to_same_rows, kinds=(REAL,)),
    Row("latest, and the catalog has a new version", "X RX X X published", offer_new_rows, given=floating),
    Row("pinned, and the catalog has a new version", NOTHING_RUNS, offer_new_rows, kinds=(REAL,)),
    Row("an input imported under another name", "X RR X X published", import_b_as_c),
    Row("two products with one input", "X RR X X published", another_product),
    Row("a date strategy on another day", "X RR X X published", next_day, given=dated),
    Row("edited, and edited back", "R RR R R published", edit_and_build),
    Row(
        "failed at plan, run again",
        "X XX X X published",
        first=asking("--fail-at", "plan"),
        kinds=(SIMULATED,),
    ),
    Row(
        "failed at load, run again",
        "R XX X X published",
        first=asking("--fail-at", "load"),
        kinds=(SIMULATED,),
    ),
    Row("failed at build, run again", "R RR X X published", first=asking("--fail-at", "build")),
    Row(
        "failed at package, run again",
        "R RR R X published",
        first=asking("--fail-at", "package"),
        kinds=(SIMULATED,),
    ),
    Row(
        "failed at build, run again, floating",
        "X RR X X published",
        given=floating,
        first=asking("--fail-at", "build"),
    ),
    Row(
        "one of many inputs failed to load, run again",
        "R RX X X published",
        readable_b,
        kinds=(REAL,),
        given=unreadable_b,
        first=failed,
    ),
    Row(
        "killed during a load, run again",
        "R RX X X published",
        first=killed_at("load b", "load a"),
        kinds=(REAL,),
    ),
    Row("killed during build, run again", "R RR X X published", first=killed_at("build"), kinds=(SIMULATED,)),
    Row("killed during package, run again", "R RR R X published", first=killed_at("package"), kinds=(REAL,)),
    *damage_rows(),
    Row("a published file deleted", "R RR R R repaired", damage_published("a.csv", None), kinds=(SIMULATED,)),
    Row(
        "a published file truncated",
        "R RR R R repaired",
        damage_published("a.csv", truncated),
        kinds=(SIMULATED,),
    ),
    Row("a published file damaged", "R RR R R repaired", damage_published("thing.zip", with_another_byte)),
    Row(
        "package.json deleted",
        "R RR R R published",
        damage_published("package.json", None),
        kinds=(SIMULATED,),
    ),
    Row("package.json truncated", "R RR R R repaired", damage_published("package.json", truncated)),
    Row(
        "package.json changed",
        "R RR R R repaired",
        damage_published("package.json", a_pickle),
        kinds=(SIMULATED,),
    ),
    Row("--force plan", ONLY_PLAN_RUNS, again=asking("--force", "plan"), kinds=(REAL,)),
    Row("--force load", "R XX R R unchanged", again=asking("--force", "load"), kinds=(REAL,)),
    Row("--force load:b", "R RX R R unchanged", again=asking("--force", "load:b"), kinds=(REAL,)),
    Row("--force build", "R RR X R unchanged", again=asking("--force", "build"), kinds=(REAL,)),
    Row("--force package", "R RR R X unchanged", again=asking("--force", "package"), kinds=(REAL,)),
    Row("--locked", ONLY_PLAN_RUNS, again=asking("--locked")),
    Row(
        "--locked, and the catalog has a new version",
        ONLY_PLAN_RUNS,
        offer_new_rows,
        given=floating,
        kinds=(REAL,),
        again=asking("--locked"),
        elsewhere=locked_elsewhere,
    ),
    Row("the server's database lost", NOTHING_RUNS, again=on_another_server, kinds=(SIMULATED,)),
    Row("code of build changed", "R RR X R unchanged", again=adding_code("build"), kinds=(REAL,)),
    Row("code of load changed", "R XX R R unchanged", again=adding_code("load"), kinds=(REAL,)),
    Row(
        "code of simulate changed",
        "X XX X X unchanged",
        again=adding_code("simulate"),
        kinds=(SIMULATED,),
    ),
    Row(
        "code of the data dictionary changed with what it writes",
        "R RR R X published",
        again=by_code(rename_a_column),
        elsewhere=by_code(rename_a_column),
        kinds=(REAL,),
    ),
    Row(
        "version of a named library changed",
        "R XX R X unchanged",
        again=by_code(another_duckdb),
        kinds=(REAL,),
    ),
    Row(
        "comments and docstrings of code changed",
        NOTHING_RUNS,
        again=by_code(add_comments),
        kinds=(SIMULATED,),
    ),
]


_published: dict[str, dict[str, bytes]] = {}


@pytest.mark.parametrize(
    ("row", "kind"),
    [pytest.param(row, kind, id=f"{row.case} {kind}") for row in ROWS for kind in row.kinds],
)
def test_what_runs_again(row: Row, kind: str, product: Product) -> None:
    product.kind = kind
    row.given(product)
    row.first(product)
    said = row.change(product)
    answer = row.again(product)
    assert answer.row == row.expected
    assert said is None or any(str(said) in reason for reason in answer.reasons.values())
    assert product.published == published_elsewhere(product, row.elsewhere)
    assert_whole(product.bucket, answer.document["product"], answer.document["version"])


def published_elsewhere(product: Product, build: Callable[[Product], Answer]) -> dict[str, bytes]:
    """What an empty bucket comes to; found out once for equal recipes."""
    recipe = json.dumps([product.recipe, product.text, product.kind, product.offered, id(build)])
    if recipe not in _published:
        with product.elsewhere() as other:
            build(other)
            _published[recipe] = other.published
    return _published[recipe]


@pytest.mark.parametrize(
    ("kind", "stage", "change", "expected"),
    [
        (SIMULATED, "load b", pin_a_to_new_rows, "X XH X X published"),
        (REAL, "load b", pin_a_to_new_rows, "X XH X X published"),
        (SIMULATED, "build", export_as_csv, "X RR H X published"),
        (REAL, "load b", export_as_csv, "X RH R X published"),
    ],
)
def test_other_bytes_behind_the_same_etag_heal_when_they_are_read(
    product: Product, s3: Store, kind: str, stage: str, change: Change, expected: str
) -> None:
    product.kind = kind
    uri = product.bucket.document(product.build().result(stage))["artifacts"][-1]
    artifact = product.bucket.inside(uri)
    change(product)
    with proxied(str(s3.keys.s3_endpoint_url)) as proxy:
        proxy.altered = lambda path: path.endswith(artifact)
        product.environment.setenv("LARDER_S3_ENDPOINT_URL", proxy.url)
        assert product.build().row == expected
        assert proxy.alterations
    assert artifact in product.last.reasons[stage]
    product.environment.setenv("LARDER_S3_ENDPOINT_URL", str(s3.keys.s3_endpoint_url))
    assert product.published == published_elsewhere(product, Product.build)


def test_a_retry_keeps_its_lock_also_on_another_day(product: Product) -> None:
    dated(product)
    floating(product)
    register(settings(), "test", {}, START_RUN)
    server = Server()
    deployment = server.ask(f"deployments/name/{build.deployment_name}")["id"]
    parameters = {"recipe": product.read.model_dump(mode="json"), "fail_at": "build"}
    run = server.ask(f"deployments/{deployment}/create_flow_run", {"parameters": parameters})["id"]
    with get_client(sync_client=True) as client, pytest.raises(StageFailed, match="asked to fail"):
        run_flow(flow_of(build), client.read_flow_run(UUID(run)), parameters)
    first = said_in_the_ui(server, run)
    assert first.row == "X XX F - -"
    next_day(product)
    offer_new_rows(product)
    server.ask(f"flow_runs/{run}/set_state", {"state": {"type": "SCHEDULED", "name": "AwaitingRetry"}})
    subprocess.run([sys.executable, "-m", "prefect", "flow-run", "execute", run], check=True, cwd=CHECKOUT)
    retried = said_in_the_ui(server, run)
    assert retried.row == "R RR X X published"
    assert retried.document["version"] == first.document["version"]


def said_in_the_ui(server: Server, run: str) -> Answer:
    """What the last attempt of a deployment's run came to."""
    asked = {"artifacts": {"flow_run_id": {"any_": [run]}, "type": {"any_": [UI_TYPE]}}}
    found = server.ask("artifacts/filter", {**asked, "sort": "CREATED_DESC"})
    return Answer(0, found[0]["data"], "")
