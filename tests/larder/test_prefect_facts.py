"""What Prefect does without promising it, and what our stages stand on."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prefect import flow, get_client, task
from prefect.cache_policies import CachePolicy
from prefect.context import TaskRunContext
from prefect.filesystems import LocalFileSystem
from prefect.locking.memory import MemoryLockManager
from prefect.results import ResultRecordMetadata
from prefect.serializers import Serializer
from prefect.settings import PREFECT_LOCAL_STORAGE_PATH, temporary_settings
from prefect.states import State
from prefect.transactions import (
    CommitMode,
    IsolationLevel,
    Transaction,
    TransactionState,
    get_transaction,
    transaction,
)
from prefect_aws import S3Bucket

from blocks.storage import BUCKET_BLOCK, register_blocks
from larder.orchestration.task import ResultSerializer, task_of
from larder.pipeline import pipeline
from larder.settings import Settings
from tests.recipes import Bucket
from tests.services import Store
from tests.tiny import Executed, call_of, drawn

pytestmark = pytest.mark.usefixtures("quick", "prefect_server")

KEY = "the-key"


@dataclass
class OneKey(CachePolicy):
    """Every run has the same key, under a lock."""

    def __post_init__(self) -> None:
        self.isolation_level = IsolationLevel.SERIALIZABLE
        self.lock_manager = MemoryLockManager()

    def compute_key(self, *_: Any, **__: Any) -> str:
        return KEY


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Path]:
    """The folder in which Prefect persists results."""
    folder = tmp_path / "results"
    folder.mkdir()
    with temporary_settings({PREFECT_LOCAL_STORAGE_PATH: folder}):
        yield folder


def run(body: Callable[[], Any], **options: Any) -> State[Any]:
    """Run a body as a persisted task of that one key, in a flow."""
    settled = {"persist_result": True, "cache_policy": OneKey(), "cache_result_in_memory": False}
    states: list[State[Any]] = []

    @flow(persist_result=False)
    def around() -> None:
        states.append(task(**{**settled, **options})(body)(return_state=True))

    around()
    return states[0]


def transaction_of_the_task() -> Transaction:
    found = get_transaction()
    assert isinstance(found, Transaction)
    return found


def test_a_stock_task_writes_its_result_under_its_key(storage: Path) -> None:
    assert run(lambda: "value").name == "Completed"
    assert [file.name for file in storage.iterdir()] == [KEY]
    assert run(lambda: "another").name == "Cached"


def test_a_transaction_set_to_committed_is_shown_as_cached_and_not_written(storage: Path) -> None:
    def body() -> str:
        transaction_of_the_task().state = TransactionState.COMMITTED
        return "value"

    assert run(body, refresh_cache=True).name == "Cached"
    assert list(storage.iterdir()) == []
    assert not MemoryLockManager().is_locked(KEY)


def test_a_transaction_told_not_to_write_does_not_write(storage: Path) -> None:
    def body() -> str:
        transaction_of_the_task().write_on_commit = False
        return "value"

    assert run(body, refresh_cache=True).name == "Completed"
    assert list(storage.iterdir()) == []
    assert not MemoryLockManager().is_locked(KEY)


def test_refreshing_takes_the_lock_and_reads_nothing(storage: Path) -> None:
    run(lambda: "before")
    (storage / KEY).write_text("unreadable")
    held = []

    def body() -> str:
        found = transaction_of_the_task()
        held.append(MemoryLockManager().is_lock_holder(KEY, found._holder))
        held.append(found.key == KEY)
        found.write_on_commit = False
        return "after"

    assert run(body, refresh_cache=True).type.value == "COMPLETED"
    assert held == [True, True]
    assert (storage / KEY).read_text() == "unreadable"


def test_the_key_is_computed_before_the_lock_is_taken_and_in_the_tasks_thread(storage: Path) -> None:
    seen = []

    @dataclass
    class Watched(OneKey):
        def compute_key(self, *_: Any, **__: Any) -> str:
            seen.append((threading.get_ident(), MemoryLockManager().is_locked(KEY)))
            return KEY

    def body() -> None:
        seen.append((threading.get_ident(), MemoryLockManager().is_locked(KEY)))

    run(body, cache_policy=Watched(), refresh_cache=True)
    (before, locked_before), *_, (inside, locked_inside) = seen
    assert (locked_before, locked_inside) == (False, True)
    assert before == inside


def test_a_key_that_cannot_be_computed_is_swallowed(storage: Path) -> None:
    @dataclass
    class Broken(OneKey):
        def compute_key(self, *_: Any, **__: Any) -> str:
            raise ValueError("no key")

    assert run(lambda: "value", cache_policy=Broken(), refresh_cache=True).name == "Completed"


@pytest.mark.timeout(60)
def test_eager_commit_lets_go_of_the_lock_inside_a_users_transaction(storage: Path) -> None:
    def body() -> str:
        found = transaction_of_the_task()
        found.commit_mode, found.write_on_commit = CommitMode.EAGER, False
        return "value"

    @flow(persist_result=False)
    def around() -> None:
        again = task(persist_result=True, cache_policy=OneKey(), refresh_cache=True)(body)
        with transaction():
            again()
            assert not MemoryLockManager().is_locked(KEY)
            again()

    around()


@pytest.mark.parametrize(("persists", "files"), [(True, 1), (False, 0)])
def test_switching_persistence_off_in_the_context_keeps_exceptions_out_of_storage(
    storage: Path, persists: bool, files: int
) -> None:
    attempts = []

    def body() -> None:
        attempts.append(1)
        context = TaskRunContext.get()
        assert context
        context.persist_result = persists
        raise ValueError("no")

    state = run(body, refresh_cache=True, retries=1)
    assert state.name == "Failed"
    assert len(attempts) == 2
    assert len(list(storage.iterdir())) == files


def test_a_subclass_of_serializer_is_taken_as_it_is() -> None:
    made = task(result_serializer=ResultSerializer(), persist_result=True)(lambda: None)
    assert isinstance(made.result_serializer, Serializer)
    assert made.with_options(retries=1).result_serializer == made.result_serializer


def test_a_state_read_from_the_server_gives_the_stages_value(executed: Executed, stack: Settings) -> None:
    register_blocks(stack)
    seen: list[Any] = []

    @pipeline(name="facts")
    def one() -> None:
        state = task_of(drawn)(call_of(drawn, seed=3), return_state=True)
        seen.extend([state.state_details.task_run_id, state.result()])

    one()
    with get_client(sync_client=True) as client:
        state = client.read_task_run(seen[0]).state
    assert state
    assert isinstance(state.data, ResultRecordMetadata)
    assert state.result() == seen[1]


def test_a_loaded_block_with_another_endpoint_is_accepted_as_storage(
    blocks: None, s3: Store, bucket: str
) -> None:
    block = S3Bucket.load(BUCKET_BLOCK)
    assert isinstance(block, S3Bucket)
    moved = block.model_copy(update={"bucket_name": bucket})
    assert moved._block_document_id == block._block_document_id is not None
    accepted = task(persist_result=True, result_storage=moved)(lambda: None)
    assert accepted.with_options(retries=1).result_storage is moved
    assert run(lambda: "value", result_storage=moved).name == "Completed"
    assert Bucket(s3.client, bucket).names() == [KEY]


def test_an_unsaved_block_is_refused_as_storage(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="must be persisted server-side"):
        task(persist_result=True, result_storage=LocalFileSystem(basepath=str(tmp_path)))(lambda: None)
