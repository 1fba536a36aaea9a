"""`larder build` as people and programs meet it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from prefect import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, ArtifactFilterType
from prefect.client.schemas.sorting import ArtifactSort
from prefect.states import AwaitingRetry
from pydantic import BaseModel, ConfigDict, Field

from blocks.register import register
from cli.main import main
from flows.build import report
from larder.settings import CHECKOUT, Settings
from stack import servers
from stack.local import is_online
from stack.ports import HOST, free_ports
from stack.registration import START_RUN
from tests.recipes import REAL, Answer, Product

pytestmark = pytest.mark.usefixtures("quick")

WORKER_SECONDS = 120
RETRY_SECONDS = 120
HEX = r"^[0-9a-f]{64}$"
Digest = Annotated[str, Field(pattern=HEX)]


class Shape(BaseModel):
    """These fields, all of them, and no others."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Stage(Shape):
    stage: Literal["plan", "load", "model", "command", "build", "package"]
    dataset: str | None
    key: Digest | None
    outcome: Literal["executed", "reused", "healed", "failed"] | None
    seconds: float | None
    result: Annotated[str, Field(pattern=r"^s3://[^/]+/results/.+\.json$")] | None
    reason: str | None


class File(Shape):
    name: str
    bytes: int
    sha256: Digest


class Package(Shape):
    uri: Annotated[str, Field(pattern=r"^s3://.+/packages/.+/package\.json$")]
    publish: Literal["published", "unchanged", "repaired", "kept"]
    files: list[File]


class Error(Shape):
    stage: str | None
    key: Digest | None
    message: str


class Document(Shape):
    state: Literal["completed", "failed", "refused"]
    flow_run_id: Annotated[UUID, Field(strict=False)] | None
    product: str | None
    version: str | None
    recipe_hash: Digest | None
    stages: list[Stage]
    package: Package | None
    error: Error | None


def checked(answer: Answer) -> Document:
    """The answer's document, with every field that it must have and none else."""
    return Document.model_validate(answer.document)


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """The exit code of `larder` with these words, and what it said."""
    code = main(words)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def one_like(pattern: str, lines: list[str]) -> bool:
    """Whether one line, and no other, is like this."""
    return sum(bool(re.fullmatch(pattern, line)) for line in lines) == 1


def environment(**changed: str | None) -> dict[str, str]:
    """The environment of another process."""
    whole = {**os.environ, "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30", **changed}
    return {name: value for name, value in whole.items() if value is not None}


def test_a_completed_build_answers_with_all_that_it_made(product: Product) -> None:
    answer = product.build()
    document = checked(answer)
    assert (answer.exit_code, document.state, document.error) == (0, "completed", None)
    assert (document.product, document.version) == ("thing", "25Q1")
    assert document.flow_run_id
    assert document.recipe_hash
    assert [(stage.stage, stage.dataset) for stage in document.stages] == [
        ("plan", None),
        ("load", "a"),
        ("load", "b"),
        ("build", None),
        ("package", None),
    ]
    assert all(stage.key and stage.result and stage.seconds for stage in document.stages)
    assert {stage.reason for stage in document.stages} == {"never built"}
    assert document.package
    assert document.package.publish == "published"
    assert [file.name for file in document.package.files] == [
        "SHA256SUMS",
        "a.csv",
        "b.parquet",
        "data_dictionary.csv",
        "data_dictionary.md",
        "recipe.lock.yml",
        "source_data_versions.csv",
        "thing.zip",
    ]
    assert {file.name: len(product.published[file.name]) for file in document.package.files} == {
        file.name: file.bytes for file in document.package.files
    }


def test_a_failed_build_says_where_and_keeps_what_was_finished(product: Product) -> None:
    answer = product.build("--fail-at", "build")
    document = checked(answer)
    assert (answer.exit_code, document.state, document.package) == (1, "failed", None)
    assert answer.outcomes == {
        "plan": "executed",
        "load a": "executed",
        "load b": "executed",
        "build": "failed",
    }
    failed = document.stages[-1]
    assert (failed.result, failed.outcome) == (None, "failed")
    assert document.error
    assert (document.error.stage, document.error.key) == ("build", failed.key)
    assert "asked to fail at build" in document.error.message
    assert document.error.message in answer.said
    assert product.build().row == "R RR X X published"


def test_a_refused_recipe_starts_no_run(product: Product) -> None:
    product.recipe["inputs"]["datasets"][0]["file_type"] = "papyrus"
    answer = product.build()
    document = checked(answer)
    assert (answer.exit_code, document.state) == (2, "refused")
    assert (document.flow_run_id, document.stages, document.package) == (None, [], None)
    assert document.error
    assert (document.error.stage, document.error.key) == (None, None)
    assert "inputs.datasets[0].file_type" in document.error.message
    assert "'papyrus'" in document.error.message
    assert "parquet" in document.error.message
    assert product.bucket.names() == []


def test_what_only_the_catalog_can_tell_is_refused_by_plan(product: Product) -> None:
    product.kind = "--real"
    product.inputs[0]["version"] = "99"
    answer = product.build()
    document = checked(answer)
    assert (answer.exit_code, document.state, document.package) == (2, "refused", None)
    assert [stage.stage for stage in document.stages] == ["plan"]
    assert document.error
    assert "99" in document.error.message
    assert product.bucket.names() == []
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(document.flow_run_id)
    assert run.state
    assert (run.state.type.value, run.state.name) == ("FAILED", "Refused")
    assert run.state.message == document.error.message


@pytest.mark.parametrize("words", [(), ("--on-worker",)])
def test_what_the_server_could_not_keep_starts_no_run(product: Product, words: tuple[str, ...]) -> None:
    product.inputs[0]["custom"] = {"rows": 10**20}
    document = product.build(*words).document
    assert (document["state"], document["flow_run_id"]) == ("refused", None)
    assert f"custom.rows: found {10**20}; expected an integer of at most 64" in document["error"]["message"]
    product.inputs[0]["custom"] = {"note": "x" * 2**19}
    assert "which is Prefect's limit" in product.build(*words).document["error"]["message"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--force", "trian"), "one of plan, load, model, command, build, package"),
        (("--fail-at", "biuld"), "did you mean build?"),
        (("--var", "NOVALUE"), "NAME=VALUE"),
        (("--locked=99Q9",), "none is published yet"),
        (("--locked=../up",), "a published version"),
        (("--simulate", "--real"), "--simulate and --real; expected one of them"),
        (("--shout",), "--shout"),
        (("another.yml",), "another.yml"),
    ],
)
def test_wrong_words_are_refused_with_the_right_ones(
    product: Product, words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    build, recipe, *_ = product.command()
    code = main([build, recipe, "--json", *words])
    captured = capsys.readouterr()
    document = Document.model_validate_json(captured.out)
    assert (code, document.state) == (2, "refused")
    assert document.error
    assert said in document.error.message
    assert product.bucket.names() == []


def test_people_are_told_what_runs_and_why(product: Product, capsys: pytest.CaptureFixture[str]) -> None:
    build, recipe, *_ = product.command()
    code, out, err = said(capsys, build, recipe, "--simulate")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert "load a: running (never built)" in lines
    for title in ("plan", "load a", "load b", "build", "package"):
        assert any(
            re.fullmatch(rf"{title}: executed \w{{8}} in \d+\.\d s \(never built\)", line) for line in lines
        )
    assert any(re.fullmatch(r"thing 25Q1: published, 8 files, [\d,]+ bytes", line) for line in lines)
    assert f"Package: s3://{product.bucket.name}/packages/thing/25Q1/package.json" in lines
    assert re.search(r"Prefect UI: http://\S+/runs/flow-run/[0-9a-f-]{36}", out)

    product.recipe["exports"]["zip_name"] = "other"
    product.command()
    _, out, _ = said(capsys, build, recipe, "--simulate")
    lines = out.splitlines()
    assert any(re.fullmatch(r"load b: reused \w{8}", line) for line in lines)
    assert any(
        re.fullmatch(r"package: executed \w{8} in .* s \(argument exports changed: zip_name\)", line)
        for line in lines
    )


def test_a_failure_is_told_on_stderr(product: Product, capsys: pytest.CaptureFixture[str]) -> None:
    build, recipe, *_ = product.command()
    code, out, err = said(capsys, build, recipe, "--simulate", "--fail-at", "load")
    assert code == 1
    assert re.match(r"Failed: Stage load a \(key \w{16}\) failed: .*asked to fail at load", err)
    assert "Traceback" not in out + err


def test_a_forced_stage_runs_and_what_follows_only_if_its_content_changed(product: Product) -> None:
    product.build()
    answer = product.build("--force", "load:a", "--force", "package")
    assert answer.row == "R XR R X unchanged"
    assert answer.reasons == {"load a": "forced", "package": "forced"}


def test_a_variable_is_put_into_the_recipe(product: Product) -> None:
    product.inputs[0] = {"id": "a", "version_env_var": "A_VERSION"}
    product.build("--var", "A_VERSION=1")
    assert b"a,a,1,csv" in product.published["source_data_versions.csv"]
    assert product.build("--var", "A_VERSION=1").row == "R RR R R unchanged"
    assert product.build("--var", "A_VERSION=2").row == "X XR X X published"
    assert b"a,a,2," in product.published["source_data_versions.csv"]


@pytest.mark.parametrize("locked", ["--locked", "--locked=25Q1"])
def test_a_published_lock_is_built_in_place_of_the_recipe(product: Product, locked: str) -> None:
    product.build()
    product.inputs[0]["version"] = "2"
    answer = product.build(locked)
    assert answer.row == "X RR R R unchanged"
    assert answer.document["version"] == "25Q1"


@pytest.mark.parametrize("url", [None, f"http://{HOST}:{free_ports(1)[0]}/api"], ids=["unset", "dead"])
def test_without_a_server_it_says_how_to_start_one(
    product: Product, url: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if url is None:
        monkeypatch.delenv("PREFECT_API_URL")
    else:
        monkeypatch.setenv("PREFECT_API_URL", url)
    code, out, err = said(capsys, *product.command())
    assert code == 1
    assert Document.model_validate_json(out).state == "failed"
    assert "./setup.sh" in err
    assert "python -m flows.build" in err


def test_the_installed_command_says_nothing_but_its_answer_on_stdout(product: Product) -> None:
    command = [str(Path(sys.executable).with_name("larder")), *product.command()]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment(), cwd="/")
    assert done.returncode == 0, done.stderr
    assert Document.model_validate_json(done.stdout).state == "completed"
    assert "plan: executed" in done.stderr


def test_an_interrupted_build_ends_before_its_time_and_the_next_one_goes_on(product: Product) -> None:
    product.recipe["simulate"] = {"seconds": {"build": 300}}
    listening = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{listening}; import sys; from cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", code, *product.command()]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        cwd=CHECKOUT,
    ) as process:
        assert process.stderr
        told = []
        for line in process.stderr:
            told.append(line)
            if line.startswith("build: running"):
                break
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert (out, "Traceback" in "".join([*told, err])) == ("", False)
    assert "run it again to go on" in err
    product.recipe["simulate"] = {}
    assert product.build().row == "X RR X X published"


def test_builds_need_no_server_and_two_of_them_can_run_at_once(product: Product) -> None:
    command = [sys.executable, "-m", "flows.build", *product.command()[1:]]
    alone = environment(PREFECT_API_URL=None, PREFECT_HOME=None)
    started = [
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=alone, cwd=CHECKOUT
        )
        for _ in range(2)
    ]
    ended = [process.communicate(timeout=240) for process in started]
    assert [process.returncode for process in started] == [0, 0], ended
    documents = [Document.model_validate_json(out) for out, _ in ended]
    executed = [stage.key for one in documents for stage in one.stages if stage.outcome == "executed"]
    assert len(executed) == len(set(executed)) == 5
    assert all("will not be in the Prefect UI" in err for _, err in ended)
    assert not any("Traceback" in err for _, err in ended)


@pytest.fixture
def worker(product: Product, larder: Settings, prefect_server: str) -> Iterator[None]:
    """A worker that serves the deployment, with the product's bucket."""
    register(larder, "test", {"build": {"recipe": product.recipe}}, START_RUN)
    given = {name: value for name, value in os.environ.items() if name.startswith("LARDER_")}
    began = time.time()
    daemon = servers.prefect_worker(
        larder.home,
        {**given, "PREFECT_API_URL": prefect_server},
        "",
        ready=lambda: is_online(prefect_server, since=began),
    )
    daemon.start()
    daemon.wait(WORKER_SECONDS)
    yield
    daemon.stop()


def test_warnings_of_a_build_on_the_worker_are_said(product: Product, worker: None) -> None:
    product.kind = REAL
    tested = {"sql": "from a", "tests": [{"unique": "id"}, {"expression": "id > '1'", "severity": "warn"}]}
    product.recipe["stage_config"] = {"builds.build": {"models": {"m": tested}}}
    product.recipe["exports"]["datasets"] = [{"name": "m", "format": "csv"}]
    answer = product.build("--on-worker")
    assert checked(answer).state == "completed"
    assert "\n  warning: test (id > '1') of model m does not hold for 1 rows, first: id '1'" in answer.said


def test_a_build_on_the_worker_can_be_retried_in_the_ui(product: Product, worker: None) -> None:
    failed = product.build("--on-worker", "--fail-at", "build")
    document = checked(failed)
    assert (failed.exit_code, document.state) == (1, "failed")
    assert failed.row == "X XX F - -"
    assert "Prefect UI: http" in failed.said
    run_id = document.flow_run_id
    assert run_id
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run_id, AwaitingRetry(), force=True)
        until = time.monotonic() + RETRY_SECONDS
        while not (run := client.read_flow_run(run_id)).state.is_completed():
            assert time.monotonic() < until, run.state
            time.sleep(0.5)
        reports = client.read_artifacts(
            artifact_filter=ArtifactFilter(
                flow_run_id=ArtifactFilterFlowRunId(any_=[run_id]),
                type=ArtifactFilterType(any_=[report.UI_TYPE]),
            ),
            sort=ArtifactSort.CREATED_DESC,
        )
    retried = Answer(0, _document(reports[0].data), "")
    assert checked(retried).flow_run_id == run_id
    assert run.run_count == 2
    assert retried.row == "R RR X X published"


def _document(data: Any) -> dict[str, Any]:
    return json.loads(data) if isinstance(data, str) else data
