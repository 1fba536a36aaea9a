"""Commands of recipes: what they see, what they leave, what runs again, and how they are ended."""

import os

import pytest

from tests.explained import explained
from tests.flows.build.conftest import until_gone, until_there
from tests.processes import building
from tests.recipes import REAL, Product
from tests.wholeness import assert_whole

pytestmark = pytest.mark.usefixtures("quick")

COPY = "import duckdb, os\ndef {name}():\n    duckdb.sql({query!r}.format(**os.environ))\n"
FIRST = "copy (from '{LARDER_INPUT_DIR}/a.parquet') to 'first.parquet' (format parquet)"
LAST = (
    "copy (select *, '{WHO}' as who, '{LARDER_VERSION}' as version from 'first.parquet') "
    "to '{LARDER_OUTPUT_DIR}/made.parquet' (format parquet)"
)


@pytest.fixture
def commanded(product: Product) -> Product:
    """A product of three commands: python, shell, python; with a file that they use."""
    product.kind = REAL
    (product.folder / "mine").mkdir()
    (product.folder / "mine" / "steps.py").write_text(
        COPY.format(name="first", query=FIRST) + COPY.format(name="main", query=LAST)
    )
    product.recipe["env"] = {"WHO": "recipe", "ONLY": "recipe"}
    product.recipe["stage_config"] = {
        "builds.build": {
            "env": {"WHO": "stage"},
            "files": ["mine/**"],
            "tables": ["made"],
            "commands": [
                {"name": "first", "run": "mine.steps:first", "command_type": "python"},
                {"name": "middle", "run": "test $WHO$ONLY = stagerecipe\necho said by $WHO\nls > listed"},
                {"name": "last", "run": "mine.steps", "command_type": "python", "env": {"WHO": "command"}},
            ],
        }
    }
    product.recipe["exports"] = {"datasets": [{"name": "made", "format": "csv"}]}
    return product


def commands(product: Product) -> list[dict[str, object]]:
    found: list[dict[str, object]] = product.recipe["stage_config"]["builds.build"]["commands"]
    return found


def outcomes(product: Product) -> dict[str, str]:
    """What became of each command, and of the stages behind them."""
    return {
        name.removeprefix("command "): outcome
        for name, outcome in product.last.outcomes.items()
        if name.startswith("command ") or name in {"build", "package"}
    }


REUSED = dict.fromkeys(("first", "middle", "last", "build", "package"), "reused")


@pytest.mark.parametrize(("key", "value"), [("id", "zzz"), ("version", "99"), ("files", ["theirs/**"])])
def test_a_refused_recipe_leaves_none_of_its_files(commanded: Product, key: str, value: object) -> None:
    build = commanded.recipe["stage_config"]["builds.build"]
    (build if key == "files" else commanded.inputs[0])[key] = value
    answer = commanded.build()
    assert (answer.exit_code, answer.document["state"]) == (2, "refused"), answer.said
    assert commanded.bucket.names() == []


def test_commands_run_in_order_in_the_folder_that_the_one_before_left(commanded: Product) -> None:
    answer = commanded.build()
    assert answer.exit_code == 0, answer.said
    assert commanded.published[
        "made.csv"
    ] == b'id,a,who,version\n1,one,command,25Q1\n2,"",command,25Q1\n' or (
        commanded.published["made.csv"] == b"id,a,who,version\n1,one,command,25Q1\n2,,command,25Q1\n"
    )
    assert_whole(commanded.bucket, "thing", "25Q1")
    commanded.build()
    assert outcomes(commanded) == REUSED


def test_a_changed_command_runs_again_with_those_behind_it(commanded: Product) -> None:
    commanded.build()
    commands(commanded)[1]["run"] = "ls -a > listed"
    commanded.build()
    assert outcomes(commanded) == {
        "first": "reused",
        "middle": "executed",
        "last": "executed",
        "build": "reused",
        "package": "reused",
    }
    commands(commanded)[2]["limit_seconds"] = 300
    commanded.build()
    assert outcomes(commanded) == REUSED


def test_a_changed_file_runs_the_commands_again(commanded: Product) -> None:
    commanded.build()
    os.utime(commanded.folder / "mine" / "steps.py", (0, 0))
    commanded.build()
    assert outcomes(commanded) == REUSED
    (commanded.folder / "mine" / "more.txt").write_text("more")
    commanded.build()
    assert outcomes(commanded) == {**REUSED, **dict.fromkeys(("first", "middle", "last"), "executed")}


def test_a_failed_command_is_gone_on_from(commanded: Product) -> None:
    commands(commanded)[1]["run"] = "echo before; echo wrong >&2; exit 3"
    answer = commanded.build()
    assert answer.exit_code == 1
    message = answer.document["error"]["message"]
    for said in ("middle", "exit code 3", "before", "wrong"):
        assert said in message
    assert outcomes(commanded) == {"first": "executed", "middle": "failed"}
    commands(commanded)[1]["run"] = "ls > listed"
    commanded.build()
    assert outcomes(commanded) == {**dict.fromkeys(REUSED, "executed"), "first": "reused"}


def test_explain_knows_of_commands_and_files(commanded: Product) -> None:
    def said() -> dict[str, str]:
        return {one.title: one.will for one in explained(commanded.read, commanded.folder)}

    commanded.build()
    assert set(said().values()) == {"reuse"}
    commands(commanded)[1]["run"] = "ls -a > listed"
    found = said()
    assert (found["command first"], found["command middle"], found["command last"]) == (
        "reuse",
        "run",
        "unknown",
    )
    assert found["build"] == "unknown"


def test_the_release_before_is_told(commanded: Product) -> None:
    commands(commanded)[1]["run"] = 'test "${LARDER_VERSION_PREV:-none}" = "${VERSION_PREV:-none}"'
    assert commanded.build().exit_code == 0, commanded.last.said
    commanded.recipe["version"] = "25Q2"
    answer = commanded.build()
    assert answer.exit_code == 0, answer.said
    assert b"VERSION_PREV: 25Q1" in commanded.published["recipe.lock.yml"]
    again = commanded.build("--locked")
    assert again.exit_code == 0, again.said
    assert outcomes(commanded) == REUSED


def test_what_commands_print_goes_to_the_log_line_by_line(
    commanded: Product, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="prefect.task_runs"):
        commanded.build()
    assert "command middle: said by stage" in [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("at", [1, 2])
def test_a_killed_build_redoes_only_the_command_that_ran(product: Product, at: int) -> None:
    marker = f"larder-{os.getpid()}-{at}"
    product.kind = REAL
    listed = [{"name": f"c{number}", "run": f"echo {number} > c{number}"} for number in range(3)]
    product.recipe["stage_config"] = {"builds.build": {"commands": listed}}
    quick, listed[at]["run"] = listed[at]["run"], f": {marker}; sleep 600; true"
    with building(product.read) as killed:
        killed.until(f"command c{at}", "running")
        until_there(marker)
        killed.process.kill()
        killed.process.join()
    until_gone(marker)
    listed[at]["run"] = quick
    answer = product.build()
    assert answer.exit_code == 0, answer.said
    found = [outcomes(product)[f"c{number}"] for number in range(3)]
    assert found == ["reused"] * at + ["executed"] * (3 - at)


@pytest.mark.parametrize(
    ("parts", "place", "found"),
    [
        ({"files": ["nothing/**"], "commands": [{"name": "c", "run": "true"}]}, "files[0]", "matches none"),
        ({"files": ["mine/**"]}, "files", "commands that use them"),
        ({"tables": ["made"]}, "tables", "commands that write them"),
        (
            {"commands": [{"name": "c", "run": "a b", "command_type": "python"}]},
            "commands[0].run",
            "module:function, or module",
        ),
        (
            {"commands": [{"name": "c", "run": "true"}], "tables": ["m"], "models": {"m": "from a"}},
            "tables",
            "a model is called too",
        ),
    ],
)
def test_what_is_refused(product: Product, parts: dict[str, object], place: str, found: str) -> None:
    product.kind = REAL
    product.recipe["stage_config"] = {"builds.build": parts}
    product.recipe["exports"] = {}
    answer = product.build()
    assert answer.exit_code == 2, answer.document
    for part in (f"stage_config.builds.build.{place}", found):
        assert part in answer.document["error"]["message"]
    assert not product.bucket.names()


def test_files_that_are_links_are_carried_with_their_content_or_refused(commanded: Product) -> None:
    mine = commanded.folder / "mine"
    (mine / "steps.py").rename(mine / "real.py")
    (mine / "steps.py").symlink_to("real.py")
    commanded.recipe["stage_config"]["builds.build"]["files"] = ["mine/steps.py"]
    assert commanded.build().exit_code == 0, commanded.last.said
    (mine / "steps.py").unlink()
    (commanded.folder.parent / "theirs.py").write_text("")
    (mine / "steps.py").symlink_to(commanded.folder.parent / "theirs.py")
    assert commanded.build().exit_code == 2
    assert "mine/steps.py, a link to" in commanded.last.document["error"]["message"]
