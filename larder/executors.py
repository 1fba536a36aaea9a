"""Where stage calls are executed: in the process that runs the body, or in others."""

import pickle
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Protocol

from larder import s3
from larder.execution import Call, Say, execute
from larder.results import Persisted
from larder.scratch import Scratch
from larder.settings import Settings
from larder.store import Store


class Executor(Protocol):
    """Executes stage calls; may be asked by many threads at once."""

    def execute(self, call: Call, say: Say) -> Persisted:
        """As `larder.execution.execute`."""


class InThisProcess:
    """Executes a call in the thread that asks."""

    def __init__(self, store: Store, scratch: Scratch) -> None:
        self.store, self.scratch = store, scratch

    def execute(self, call: Call, say: Say) -> Persisted:
        """Execute it here, with a patience of its own for the store."""
        return execute(call, self.store.patient(call.settings.store_seconds), self.scratch, say)


class InProcesses:
    """Executes calls in processes that know nothing but what travels with a call."""

    def __init__(self, processes: ProcessPoolExecutor) -> None:
        self.processes = processes

    def execute(self, call: Call, say: Say) -> Persisted:
        """Execute it in one of the processes; what it says comes when it has ended."""
        answer = self.processes.submit(execute_there, call).result()
        for line in answer.said:
            say(line)
        if answer.error is not None:
            raise answer.error
        if answer.persisted is None:
            raise RuntimeError("A stage call came back with neither a result nor an error.")
        return answer.persisted


class Answer:
    """What became of a call in another process: a result or an error, and what it said."""

    def __init__(self, persisted: Persisted | None, error: Exception | None, said: list[str]) -> None:
        self.persisted, self.error, self.said = persisted, error, said


@contextmanager
def executor_for(settings: Settings, store: Store, scratch: Scratch) -> Iterator[Executor]:
    """The executor that the settings ask for; processes are spawned, as a fork can inherit a held lock."""
    if settings.runner == "threads":
        yield InThisProcess(store, scratch)
        return
    with ProcessPoolExecutor(settings.parallel, mp_context=get_context("spawn")) as processes:
        yield InProcesses(processes)


def execute_there(call: Call) -> Answer:
    """Execute a call in a process that has only what came with it."""
    said: list[str] = []
    try:
        store = Store(s3.client(call.settings), call.settings.bucket_name)
        patient = store.patient(call.settings.store_seconds)
        return Answer(execute(call, patient, _scratch(call.scratch), said.append), None, said)
    except Exception as error:  # noqa: BLE001
        return Answer(None, _travelling(error), said)


@cache
def _scratch(folder: Path) -> Scratch:
    return Scratch(folder)


def _travelling(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301
    except Exception:  # noqa: BLE001
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
