"""What a stage promises, seen through tiny pipelines that have nothing to do with recipes."""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prefect import Task, flow
from prefect.cache_policies import INPUTS, NO_CACHE
from prefect.transactions import IsolationLevel, transaction
from prefect_aws import S3Bucket

from larder import keys
from larder.definition import Definition
from larder.leases import Leases
from larder.orchestration.task import ResultSerializer, task_of
from larder.outcomes import Audience, Step, listening
from larder.pipeline import pipeline
from larder.settings import Settings
from larder.stage import NoRunError, StageFailed, gather, stage
from tests.recipes import Bucket
from tests.services import Store
from tests.tiny import (
    Executed,
    Text,
    call_of,
    current_run,
    doubled,
    draw,
    drawn,
    lines,
    record,
    tiny,
    written,
)

pytestmark = pytest.mark.usefixtures("quick")

ERRORS = {"connection": ConnectionError, "value": ValueError}


def refuse(name: str, scratch: Path) -> Text:
    """Fails with the error of that name."""
    record(f"refuse-{name}")
    raise ERRORS[name](f"no {name}")


def stray(path: str, scratch: Path) -> Text:
    """Returns a file that is not its own."""
    return Text(file=Path(path), rows=0)


def keep(numbers: Text, times: int, scratch: Path) -> Text:
    """Returns what it was given."""
    record("keep")
    return numbers


def describe(numbers: Text, scratch: Path) -> Text:
    """What the file is that it was given."""
    file = Path(str(numbers.file))
    said = [type(numbers.file).__name__, oct(file.stat().st_mode & 0o777), str(file.is_relative_to(scratch))]
    return written("describe", [*said, *lines(numbers)], scratch)


def mistaken(scratch: Path) -> Text:
    """Returns something else than it says."""
    return "text"  # type: ignore[return-value]


refused = stage(
    Definition("refuse", refuse, "tiny", labelled=True, retries=2, retry_on=(ConnectionError,))
).with_options(retry_delay_seconds=0)
strayed, kept, described, mistook = (
    stage(Definition(function.__name__, function, "tiny")) for function in (stray, keep, describe, mistaken)
)


@pytest.fixture
def found(s3: Store, bucket: str) -> Bucket:
    """The bucket, seen with no code of ours."""
    return Bucket(s3.client, bucket)


def outcomes(audience: Audience) -> dict[str, str]:
    """What became of each stage in the last run."""
    return {step.title: str(step.outcome) for step in audience.runs[-1].outcomes.in_order}


def run_tiny(**arguments: int) -> dict[str, str]:
    with listening(lambda step: None) as audience:
        tiny(**arguments)
    return outcomes(audience)


def in_a_run(body: Callable[[], Any]) -> dict[str, str]:
    """Go through `body` as a flow."""
    with listening(lambda step: None) as audience:
        pipeline(name="test")(body)()
    return outcomes(audience)


@contextmanager
def calls_of_the_store() -> Iterator[list[str]]:
    """The calls that runs make of the store, as `PutObject artifacts/…`."""
    clients: list[Any] = []
    in_a_run(lambda: clients.append(current_run().store.client))
    made: list[str] = []

    def note(model: Any, params: dict[str, Any], **_: Any) -> None:
        made.append(f"{model.name} {params['url_path'].lstrip('/')}")

    clients[0].meta.events.register("before-call.s3", note)
    yield made
    clients[0].meta.events.unregister("before-call.s3", note)


def test_first_run_executes_second_reuses(executed: Executed) -> None:
    assert run_tiny() == {"draw": "executed", "double": "executed", "total": "executed"}
    assert executed() == ["draw", "double", "total"]
    assert run_tiny() == {"draw": "reused", "double": "reused", "total": "reused"}
    assert executed() == []


def test_changed_argument_runs_its_stage_alone(executed: Executed) -> None:
    run_tiny()
    executed()
    assert run_tiny(offset=1) == {"draw": "reused", "double": "reused", "total": "executed"}
    assert executed() == ["total"]


def test_a_stage_is_a_prefect_task_before_any_run() -> None:
    task = task_of(stage(Definition("draw", draw, "tiny", retries=2)))
    assert type(task) is Task
    assert (task.name, task.retries) == ("draw", 2)
    assert task.persist_result
    assert task.result_storage == "s3-bucket/larder-results" or isinstance(task.result_storage, S3Bucket)
    assert isinstance(task.result_serializer, ResultSerializer)
    assert task.cache_policy.isolation_level is IsolationLevel.SERIALIZABLE
    assert isinstance(task.cache_policy.lock_manager, Leases)
    assert task.refresh_cache


def test_it_can_be_called_submitted_and_mapped(executed: Executed) -> None:
    seen: list[Text] = []

    def body() -> None:
        seen.extend([drawn(1), drawn.submit(2).result(), *gather(drawn.map([3, 4]))])
        seen.append(doubled(doubled.submit(drawn.submit(5))))

    in_a_run(body)
    assert len({text.file for text in seen}) == 5
    assert sorted(executed()) == ["double", "double", *["draw"] * 5]


def test_how_it_is_called_can_be_changed(executed: Executed) -> None:
    other = drawn.with_options(tags=["seen"], retries=1)
    in_a_run(lambda: other(3))
    assert (task_of(other).tags, task_of(other).retries) == ({"seen"}, 1)
    assert executed() == ["draw"]
    assert run_tiny()["draw"] == "reused"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"refresh_cache": False}, "Then Prefect would read, and could execute"),
        ({"result_serializer": "pickle"}, "Then Prefect would read, and could execute"),
        ({"cache_policy": NO_CACHE}, "lost its cache policy: leave cache_policy to the stage"),
        ({"cache_policy": INPUTS}, "lost its cache policy: leave cache_policy to the stage"),
        ({"persist_result": False}, "lost its cache policy"),
    ],
    ids=["refresh_cache", "serializer", "no cache", "inputs", "persist_result"],
)
def test_options_that_would_let_prefect_decide_are_refused(
    executed: Executed, found: Bucket, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(StageFailed, match=said) as caught:
        in_a_run(lambda: task_of(drawn).with_options(**options)(call_of(drawn, seed=3)))
    assert caught.value.stage == "draw"
    assert executed() == []
    assert found.names() == []


@flow(name="plain")
def plain(seed: int) -> None:
    """A flow that is no pipeline."""
    drawn(seed)


@pytest.mark.parametrize("call", [drawn, plain], ids=["bare", "flow"])
def test_outside_a_pipeline_it_says_what_is_missing(executed: Executed, call: Callable[..., Any]) -> None:
    with pytest.raises(NoRunError, match="call it in a function made by @pipeline"):
        call(3)
    assert executed() == []


@pytest.mark.parametrize(
    ("seed", "said"),
    [({1, 2}, "set has no canonical form"), (float("nan"), "nan"), (Path("a"), "Pass an artifact")],
    ids=["set", "nan", "path"],
)
def test_without_a_key_it_fails(executed: Executed, found: Bucket, seed: object, said: str) -> None:
    with pytest.raises(StageFailed, match=said) as caught:
        in_a_run(lambda: drawn(seed))
    assert caught.value.key is None
    assert executed() == []
    assert found.names() == []


@pytest.mark.parametrize(
    ("path", "said"),
    [("/etc/hostname", "it returned /etc/hostname, which lies neither"), ("a.txt", "which lies neither")],
)
def test_a_file_from_elsewhere_fails_it(executed: Executed, found: Bucket, path: str, said: str) -> None:
    with pytest.raises(StageFailed, match=said):
        in_a_run(lambda: strayed(path))
    assert found.names() == []


def test_another_value_than_it_says_fails_it(executed: Executed, found: Bucket) -> None:
    with pytest.raises(StageFailed, match="it returned str, not Text"):
        in_a_run(mistook)
    assert found.names() == []


def test_passing_an_input_through_costs_no_upload(executed: Executed, found: Bucket) -> None:
    seen: list[Text] = []

    def body(times: int) -> None:
        seen.append(drawn(3))
        seen.append(kept(seen[-1], times))

    with calls_of_the_store() as calls:
        in_a_run(lambda: body(1))
        in_a_run(lambda: body(2))
    assert executed() == ["draw", "keep", "keep"]
    assert len({text.file for text in seen}) == 1
    assert [call.partition("/")[0] for call in calls if call.startswith("Put")] == [
        "PutObject artifacts",
        *["PutObject results"] * 3,
    ]
    assert len(found.names("artifacts/")) == 1


@pytest.mark.timeout(60)
def test_a_users_transaction_around_it_changes_nothing(executed: Executed) -> None:
    def body() -> None:
        with transaction():
            drawn(3)
            drawn(3)

    in_a_run(body)
    assert executed() == ["draw"]


def test_a_reused_result_shows_as_cached(executed: Executed) -> None:
    names: list[str | None] = []
    for _ in range(2):
        in_a_run(lambda: names.append(task_of(drawn)(call_of(drawn, seed=3), return_state=True).name))
    assert names == ["Completed", "Cached"]


def test_failures_leave_nothing_in_the_bucket_and_nobody_tries(
    executed: Executed, found: Bucket, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(StageFailed, match=r"Stage refuse a .* failed: no connection"):
        in_a_run(lambda: refused("connection", label="a"))
    assert executed() == ["refuse-connection"] * 3
    assert found.names() == []
    assert "no connection" in caplog.text
    assert "Failed to write result" not in caplog.text


def test_only_errors_that_trying_again_can_mend_are_retried(executed: Executed) -> None:
    with pytest.raises(StageFailed, match="no value"):
        in_a_run(lambda: refused("value", label="a"))
    assert executed() == ["refuse-value"]


def test_gathering_waits_for_all_and_names_all_that_failed(executed: Executed) -> None:
    def body() -> None:
        gather([refused.submit("value", label="a"), refused.submit("value", label="b"), drawn.submit(3)])

    with pytest.raises(StageFailed, match=r"Stage refuse a .*\(1 more failed: b\)"):
        in_a_run(body)
    assert sorted(executed()) == ["draw", "refuse-value", "refuse-value"]


def test_a_failed_stage_says_which_it_was(executed: Executed) -> None:
    with pytest.raises(StageFailed) as caught, listening(lambda step: None) as audience:
        pipeline(name="test")(lambda: refused("value", label="a"))()
    failed = audience.runs[-1].outcomes.steps["refuse", "a"]
    assert (failed.outcome, failed.key) == ("failed", caught.value.key)
    assert (caught.value.stage, caught.value.label) == ("refuse", "a")
    assert isinstance(caught.value.cause, ValueError)


def test_the_block_is_loaded_once_per_run(executed: Executed, caplog: pytest.LogCaptureFixture) -> None:
    def loads() -> int:
        asked = [record.getMessage() for record in caplog.records if record.name == "httpx"]
        assert asked
        caplog.clear()
        return sum("block_documents/name/larder-results" in request for request in asked)

    with caplog.at_level(logging.INFO, logger="httpx"):
        run_tiny()
        assert loads() == 1
        in_a_run(lambda: gather(drawn.map(list(range(5)))))
        assert loads() == 1


def test_a_result_can_be_read_by_a_person(executed: Executed, found: Bucket, stack: Settings) -> None:
    run_tiny()
    (name,) = (name for name in found.names("results/") if "double" in name)
    content = found.read(name)
    document = json.loads(content)
    assert content.decode() == json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    assert not {"data", "result", "metadata", "serializer", "expiration"} & set(document)
    assert document["sha256"] == keys.digest({**document, "sha256": ""})
    assert (document["stage"], document["function"]) == ("double", "tests.tiny.double")
    assert name == f"results/tiny/double-{document['key'][:16]}.json"
    (upstream,) = document["upstream"]
    assert upstream["result"] in found.names("results/tiny/draw-")
    assert document["arguments"]["numbers"]["digest"]
    assert set(document["fingerprint"]["modules"]) == {"tests.tiny"}
    (uri,) = document["artifacts"]
    artifact = document["returned"]["file"]
    made = found.read(uri)
    assert artifact["object_name"] == uri
    assert (artifact["sha256"], artifact["bytes"]) == (hashlib.sha256(made).hexdigest(), len(made))
    assert uri.endswith(f"artifacts/tiny/{artifact['sha256'][:12]}-double.txt")
    assert made.decode().split() == [str(6 * number) for number in range(10)]


def test_an_objects_details_say_what_it_is(executed: Executed, found: Bucket) -> None:
    run_tiny()
    (name,) = found.names("results/tiny/double-")
    head = found.client.head_object(Bucket=found.name, Key=name)
    assert head["ContentType"] == "application/json"
    assert (head["Metadata"]["stage"], head["Metadata"]["rows"]) == ("double", "10")
    assert head["Metadata"]["made-at"].endswith("+00:00")
    (artifact,) = (name for name in found.names("artifacts/") if name.endswith("double.txt"))
    assert found.client.head_object(Bucket=found.name, Key=artifact)["ContentType"].startswith("text/plain")


def test_files_are_given_as_read_only_paths_outside_the_stages_own_folder(executed: Executed) -> None:
    contents: list[list[str]] = []
    for _ in range(2):
        in_a_run(lambda: contents.append(described_lines()))
    assert contents[0][:3] == ["PosixPath", "0o444", "False"]
    assert contents[0][3:] == [str(3 * number) for number in range(10)]


def described_lines() -> list[str]:
    """What `describe` saw."""
    text = described(drawn(3))
    store = current_run().store
    return store.read(text.file.object_name, 1000)[0].decode().split()


def test_a_file_is_fetched_once_per_run_and_not_at_all_where_it_was_made(executed: Executed) -> None:
    def body() -> None:
        gather([kept.submit(drawn(3), times) for times in turns])

    with calls_of_the_store() as calls:
        turns = [1]
        in_a_run(body)
        assert not [call for call in calls if call.startswith("GetObject artifacts")]
        turns = [2, 3, 4]
        in_a_run(body)
    assert len([call for call in calls if call.startswith("GetObject artifacts")]) == 1
    assert executed() == ["draw", "keep", "keep", "keep", "keep"]


def test_nothing_is_fetched_where_everything_is_reused(executed: Executed) -> None:
    run_tiny()
    with calls_of_the_store() as calls:
        run_tiny()
    assert [call for call in calls if call.startswith(("GetObject results", "HeadObject artifacts"))]
    assert not [call for call in calls if call.startswith(("GetObject artifacts", "Put", "Copy", "Delete"))]


def test_a_listener_that_fails_leaves_no_lease_behind(executed: Executed) -> None:
    def hang_up(step: Step) -> None:
        if step.outcome:
            raise BrokenPipeError

    for _ in range(2):
        with pytest.raises(BrokenPipeError), listening(hang_up) as audience:
            pipeline(name="test")(lambda: drawn(3))()
    (step,) = audience.runs[-1].outcomes.in_order
    assert step.outcome == "reused"
    assert not Leases().is_locked(audience.runs[-1].store.name(step.result or ""))


def test_scratch_is_gone_when_the_run_ends(executed: Executed, stack: Settings) -> None:
    folders: list[Path] = []
    in_a_run(lambda: folders.append(current_run().scratch))
    assert folders[0].parent == stack.scratch
    assert list(stack.scratch.iterdir()) == []
