"""What runs again, and what does not: the table of the design, row by row."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from blocks.settings import CHECKOUT, Settings
from tests.recipes import REAL, SIMULATED, Answer, Bucket, Product, new_product
from tests.services import Store

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
Change = Callable[[Product], object]


def nothing(product: Product) -> None:
    """Leave it as it is."""


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
    first: Change = Product.build
    again: Callable[[Product], Answer] = Product.build
    fresh: Callable[[Product], Answer] = Product.build
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


def with_env(product: Product) -> None:
    product.recipe["env"] = {"WHERE": "here"}


def pin_to_new_rows(product: Product) -> None:
    offer_new_rows(product)
    product.inputs[1]["version"] = "2"


def pin_to_same_rows(product: Product) -> None:
    product.offer("b", "2", (product.catalog / "b/1/b.csv").read_text())
    product.inputs[1]["version"] = "2"


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
    product.offer("b", "1", "id,id\n1,one\n")


def readable_b(product: Product) -> None:
    product.offer("b", "1", "id,b\n1,one\n")


def edit_and_build(product: Product) -> None:
    export_as_csv(product)
    product.build()
    product.recipe["exports"]["datasets"][1]["format"] = "parquet"


def building(*options: str) -> Callable[[Product], Answer]:
    def build(product: Product) -> Answer:
        return product.build(*options)

    return build


def truncated(content: bytes) -> bytes:
    return content[:-1]


def with_another_byte(content: bytes) -> bytes:
    return bytes([content[0] ^ 1]) + content[1:]


def with_another_field(content: bytes) -> bytes:
    document = json.loads(content)
    return json.dumps({**document, "made": {**document["made"], "seconds": 1234.5}}).encode()


def a_pickle(content: bytes) -> bytes:
    return PICKLED


def of_another_key(content: bytes) -> bytes:
    return content.replace(b'"key": "', b'"key": "0')


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
    for stage in STAGES:
        yield Row(f"result of {stage} deleted", one_letter(stage, "X"), damage_result(stage, None))
        healed = one_letter(stage, "H")
        for change in (truncated, with_another_field, a_pickle, of_another_key):
            kinds = BOTH if change is truncated else (SIMULATED,)
            case = f"result of {stage} {change.__name__}"
            yield Row(case, healed, damage_result(stage, change), kinds=kinds)
        for change in (None, truncated, with_another_byte):
            case = f"artifact of {stage} {change.__name__ if change else 'deleted'}"
            # A real build without models gives its inputs, so its artifacts are those of its loads.
            kinds = BOTH if change is with_another_byte and stage != "build" else (SIMULATED,)
            yield Row(case, healed, damage_artifact(stage, change), kinds=kinds)


def by_code(edit: Callable[[Path], None]) -> Callable[[Product], Answer]:
    """Build by a copy of the code that was edited."""

    def build(product: Product) -> Answer:
        copied = product.folder / "code"
        if not copied.exists():
            for package in ("flows", "blocks"):
                shutil.copytree(CHECKOUT / package, copied / package)
            edit(copied)
        return product.build_apart(code=copied)

    return build


def adding_code(module: str) -> Callable[[Product], Answer]:
    def edit(code: Path) -> None:
        with (code / f"flows/lifecycle/{module}.py").open("a") as text:
            text.write("\n\nADDED = 1\n")

    return by_code(edit)


def rename_a_column(code: Path) -> None:
    module = code / "flows/lifecycle/exports.py"
    text = module.read_text()
    assert text.count('"example")') == 1
    module.write_text(text.replace('"example")', '"sample")'))


def add_comments(code: Path) -> None:
    for module in code.glob("flows/lifecycle/*.py"):
        lines = module.read_text().replace('"""', '"""Said otherwise. ', 1)
        module.write_text(f"# A new comment.\n{lines}\n\n# Another one.\n")


def another_duckdb(code: Path) -> None:
    info = code / "duckdb-99.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: duckdb\nVersion: 99.0\n")


ROWS = [
    Row("nothing changed", NOTHING_RUNS),
    Row("nothing changed, floating", ONLY_PLAN_RUNS, given=floating),
    Row("comments, key order, quoting, white space", NOTHING_RUNS, rewrite),
    Row("the catalog's place changed", NOTHING_RUNS, move_catalog),
    Row("order of inputs", "X RR R R published", reverse_inputs),
    Row("simulated seconds", "X RR R R published", take_time, kinds=(SIMULATED,)),
    Row("exports changed", "X RR R X published", export_as_csv),
    Row("a table less exported", "X RR R X published", export_only_a, kinds=(REAL,)),
    Row("a table less exported", "X RR X X published", export_only_a, kinds=(SIMULATED,)),
    Row("env changed", "X RR X R published", with_env),
    Row("env of the build changed", "X RR X R published", with_build(env={"WHERE": "here"})),
    Row(
        "a connector argument changed",
        "X RR X R published",
        with_build(connector_args=[{"name": "acl", "value": "private"}]),
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
    Row("an input pinned to another version", "X RX X X published", pin_to_new_rows),
    Row("another version with the same rows", "X RX R X published", pin_to_same_rows, kinds=(REAL,)),
    Row("latest, and the catalog has a new version", "X RX X X published", offer_new_rows, given=floating),
    Row("pinned, and the catalog has a new version", NOTHING_RUNS, offer_new_rows),
    Row("an input imported under another name", "X RR X X published", import_b_as_c),
    Row("two products with one input", "X RR X X published", another_product),
    Row("a date strategy on another day", "X RR X X published", next_day, given=dated),
    Row("edited, and edited back", "R RR R R published", edit_and_build),
    Row("failed at plan, run again", "X XX X X published", first=building("--fail-at", "plan")),
    Row("failed at load, run again", "R XX X X published", first=building("--fail-at", "load")),
    Row("failed at build, run again", "R RR X X published", first=building("--fail-at", "build")),
    Row("failed at package, run again", "R RR R X published", first=building("--fail-at", "package")),
    Row(
        "failed at build, run again, floating",
        "X RR X X published",
        given=floating,
        first=building("--fail-at", "build"),
    ),
    Row(
        "one of many inputs failed to load, run again",
        "R RX X X published",
        readable_b,
        kinds=(REAL,),
        given=unreadable_b,
    ),
    *damage_rows(),
    Row("a published file deleted", "R RR R R repaired", damage_published("a.csv", None)),
    Row("a published file truncated", "R RR R R repaired", damage_published("a.csv", truncated)),
    Row("a published file damaged", "R RR R R repaired", damage_published("thing.zip", with_another_byte)),
    Row("package.json deleted", "R RR R R published", damage_published("package.json", None)),
    Row("package.json truncated", "R RR R R repaired", damage_published("package.json", truncated)),
    Row("package.json changed", "R RR R R repaired", damage_published("package.json", a_pickle)),
    Row("--force plan", ONLY_PLAN_RUNS, again=building("--force", "plan")),
    Row("--force load", "R XX R R unchanged", again=building("--force", "load")),
    Row("--force load:b", "R RX R R unchanged", again=building("--force", "load:b")),
    Row("--force build", "R RR X R unchanged", again=building("--force", "build")),
    Row("--force package", "R RR R X unchanged", again=building("--force", "package")),
    Row("--locked", ONLY_PLAN_RUNS, again=building("--locked")),
    Row(
        "--locked, and the catalog has a new version",
        ONLY_PLAN_RUNS,
        offer_new_rows,
        given=floating,
        again=building("--locked"),
        fresh=lambda product: locked_elsewhere(product),
    ),
    Row("code of build changed", "R RR X R unchanged", again=adding_code("build"), kinds=(REAL,)),
    Row("code of load changed", "R XX R R unchanged", again=adding_code("load"), kinds=(REAL,)),
    Row("code of plan changed", "X RR R R unchanged", again=adding_code("plan"), kinds=(REAL,)),
    Row("code of simulate changed", "X XX X X unchanged", again=adding_code("simulate"), kinds=(SIMULATED,)),
    Row(
        "code of exports changed with what it writes",
        "R RR R X published",
        again=by_code(rename_a_column),
        fresh=by_code(rename_a_column),
        kinds=(REAL,),
    ),
    Row("version of a named library changed", "R XX R X unchanged", again=by_code(another_duckdb), kinds=(REAL,)),
    Row("comments and docstrings of code changed", NOTHING_RUNS, again=by_code(add_comments), kinds=(SIMULATED,)),
]


def locked_elsewhere(product: Product) -> Answer:
    """Build version 1 of each input, which is what the lock says."""
    for entry in product.inputs:
        entry["version"] = "1"
    return product.build()


@pytest.fixture(autouse=True)
def quick() -> Iterator[None]:
    """Without Prefect's heartbeat thread, which a run's end waits for."""
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield


@pytest.fixture
def product(
    stack: Settings, s3: Store, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Product:
    """A product that was never built."""
    return new_product(tmp_path, Bucket(s3.client, bucket), monkeypatch)


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
    with product.elsewhere() as other:
        row.fresh(other)
        assert product.published == other.published
