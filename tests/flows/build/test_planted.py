"""Whoever can write to the bucket owns nothing: what is planted at a key is never executed."""

import base64
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from larder import keys
from larder.orchestration.task import task_of
from larder.outcomes import listening
from larder.settings import CHECKOUT, Settings
from larder.stage import StageFailed
from tests.recipes import Bucket, Product
from tests.services import Store
from tests.tiny import Executed, call_of, drawn, pipeline, tiny

pytestmark = pytest.mark.usefixtures("quick")

Plant = Callable[[bytes, Path], bytes]


class Bomb:
    """Leaves a file where it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.canary}",)


def pickled(_: bytes, canary: Path) -> bytes:
    result = base64.b64encode(pickle.dumps(Bomb(canary))).decode()
    return json.dumps({"metadata": {"serializer": {"type": "pickle"}}, "result": result}).encode()


def naming_a_class(_: bytes, canary: Path) -> bytes:
    call = {"__class__": "subprocess.getoutput", "data": {"cmd": f"touch {canary}"}}
    return json.dumps(call).encode()


def class_in_a_record(_: bytes, canary: Path) -> bytes:
    call = json.dumps({"__class__": "subprocess.getoutput", "data": {"cmd": f"touch {canary}"}})
    metadata = {"storage_key": "x", "serializer": {"type": "json", "jsonlib": "json"}}
    return json.dumps({"metadata": metadata, "result": call}).encode()


def prefect_record(good: bytes, _: Path) -> bytes:
    metadata = {"storage_key": "x", "expiration": None, "serializer": {"type": "json", "jsonlib": "json"}}
    returned = json.dumps(json.loads(good)["returned"])
    return json.dumps({"metadata": metadata, "result": returned, "prefect_version": "3.8.8"}).encode()


def changed(change: Callable[[dict[str, Any]], None]) -> Plant:
    """A document of ours, changed and sealed again: only what it says is wrong with it."""

    def plant(good: bytes, _: Path) -> bytes:
        document = json.loads(good)
        change(document)
        document["sha256"] = keys.digest({**document, "sha256": ""})
        return json.dumps(document).encode()

    return plant


def local_path(document: dict[str, Any]) -> None:
    document["returned"]["file"] = "/etc/passwd"


def other_bucket(document: dict[str, Any]) -> None:
    document["returned"]["file"]["object_name"] = "s3://elsewhere/artifacts/tiny/0123456789ab-x.txt"


def name_above(document: dict[str, Any]) -> None:
    name = document["returned"]["file"]["object_name"]
    document["returned"]["file"]["object_name"] = name.rsplit("/", 1)[0] + "/0123456789ab-.."


def folder_above(document: dict[str, Any]) -> None:
    name = document["returned"]["file"]["object_name"]
    document["returned"]["file"]["object_name"] = name.replace("artifacts/", "artifacts/../artifacts/", 1)


def not_an_artifact(document: dict[str, Any]) -> None:
    name = document["returned"]["file"]["object_name"]
    document["returned"]["file"]["object_name"] = name.replace("artifacts/", "results/", 1)


def other_key(document: dict[str, Any]) -> None:
    document["key"] = "0" * 64


def extra_field(document: dict[str, Any]) -> None:
    document["__class__"] = "subprocess.Popen"


def other_digest(document: dict[str, Any]) -> None:
    document["digest"] = "0" * 64


PLANTS: dict[str, Plant] = {
    "pickle": pickled,
    "class": naming_a_class,
    "class in a record": class_in_a_record,
    "record of Prefect": prefect_record,
    "local path": changed(local_path),
    "other bucket": changed(other_bucket),
    "name above": changed(name_above),
    "folder above": changed(folder_above),
    "no artifact": changed(not_an_artifact),
    "other key": changed(other_key),
    "extra field": changed(extra_field),
    "other digest": changed(other_digest),
    "not sealed": lambda good, _: good.replace(b'"rows": 10', b'"rows": 11').replace(
        b'"rows": 1,', b'"rows": 2,'
    ),
    "deep": lambda *_: b"[" * 100_000,
    "deep in ours": lambda good, _: good.replace(b'"returned": {', b'"returned": {"x": ' + b"[" * 50_000, 1),
    "too large": lambda good, _: good + b" " * (17 * 2**20),
    "not a number": lambda good, _: good.replace(b'"rows": 10', b'"rows": NaN'),
    "nothing": lambda *_: b"",
    "not text": lambda *_: b"\xff\xfe\x00",
}


@pytest.fixture
def found(s3: Store, bucket: str) -> Bucket:
    """The bucket, seen with no code of ours."""
    return Bucket(s3.client, bucket)


def at(found: Bucket, stage: str) -> str:
    """The object name of a stage's result."""
    return next(name for name in found.names("results/") if name.split("/")[-1].startswith(f"{stage}-"))


def put(found: Bucket, name: str, content: bytes) -> None:
    found.client.put_object(Bucket=found.name, Key=name, Body=content)


@pytest.mark.parametrize("name", PLANTS)
@pytest.mark.parametrize("stage", ["draw", "double"])
def test_what_is_planted_is_healed_and_not_executed(
    stage: str, name: str, executed: Executed, found: Bucket, tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    tiny()
    executed()
    good = found.read(at(found, stage))
    planted = PLANTS[name](good, canary)
    assert planted != good
    put(found, at(found, stage), planted)
    with listening(lambda step: None) as audience:
        tiny()
    assert not canary.exists()
    assert executed() == [stage]
    steps = {step.stage: step for step in audience.runs[-1].outcomes.in_order}
    assert steps[stage].outcome == "healed"
    assert at(found, stage) in (steps[stage].reason or "")
    assert found.names("damaged/results/")
    assert json.loads(found.read(at(found, stage)))["returned"] == json.loads(good)["returned"]


def test_another_stages_result_at_its_key_is_healed(executed: Executed, found: Bucket) -> None:
    tiny()
    names = [at(found, stage) for stage in ("draw", "double", "total")]
    good = [found.read(name) for name in names]
    for name, other in zip(names, [*good[1:], good[0]], strict=True):
        put(found, name, other)
    executed()
    tiny()
    assert sorted(executed()) == ["double", "draw", "total"]
    returned = [json.loads(content)["returned"] for content in good]
    assert [json.loads(found.read(name))["returned"] for name in names] == returned


@pytest.mark.parametrize("name", ["pickle", "class", "class in a record", "record of Prefect"])
def test_reading_by_prefect_is_refused_not_executed(
    name: str, executed: Executed, found: Bucket, tmp_path: Path
) -> None:
    @pipeline(name="reads-by-prefect")
    def reads_by_prefect() -> object:
        return task_of(drawn).with_options(refresh_cache=False)(call_of(drawn, seed=3))

    canary = tmp_path / "canary"
    tiny()
    executed()
    put(found, at(found, "draw"), PLANTS[name](found.read(at(found, "draw")), canary))
    with pytest.raises(StageFailed, match="refresh_cache"):
        reads_by_prefect()
    assert not canary.exists()
    assert executed() == []


@pytest.mark.parametrize("name", ["pickle", "class", "class in a record"])
def test_every_stage_of_a_build_refuses_plants(
    name: str, product: Product, found: Bucket, tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    product.build("--simulate")
    names = found.names("results/")
    assert len(names) >= 4
    for one in names:
        put(found, one, PLANTS[name](found.read(one), canary))
    answer = product.build("--simulate")
    assert answer.exit_code == 0
    assert set(answer.outcomes.values()) == {"healed"}
    assert answer.publish == "unchanged"
    assert not canary.exists()


@pytest.mark.parametrize("name", ["pickle", "class", "class in a record"])
def test_a_planted_package_document_is_repaired_not_executed(
    name: str, product: Product, found: Bucket, tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    product.build("--simulate")
    document = next(one for one in found.names("packages/") if one.endswith("/package.json"))
    good = found.read(document)
    put(found, document, pickled(good, canary) if name == "pickle" else PLANTS[name](good, canary))
    assert product.build("--simulate").publish == "repaired"
    now, before = json.loads(found.read(document)), json.loads(good)
    assert {name for name in now if now[name] != before[name]} <= {"files", "sha256"}
    assert not canary.exists()


@pytest.mark.parametrize("artifact", ["/etc/passwd", "s3://elsewhere/artifacts/x/0123456789ab-x"])
def test_files_that_a_planted_package_document_names_are_not_read(
    artifact: str, product: Product, found: Bucket
) -> None:
    product.build("--simulate")
    (name,) = [name for name in found.names("packages/") if name.endswith("/package.json")]
    good = found.document(name)
    planted = {**good, "files": [{**file, "artifact": artifact} for file in good["files"]]}
    planted["sha256"] = keys.digest({**planted, "sha256": ""})
    put(found, name, json.dumps(planted).encode())
    locked = product.build("--simulate", "--locked")
    assert (locked.exit_code, locked.document["state"]) == (1, "failed")
    assert f"{name} is damaged: it is no package document of ours" in locked.document["error"]["message"]
    assert product.build("--simulate").publish == "repaired"
    assert artifact not in found.read(name).decode()


def test_a_planted_copy_of_a_lock_is_repaired_and_never_read(
    product: Product, found: Bucket, tmp_path: Path
) -> None:
    canary = tmp_path / "canary"
    product.build("--simulate")
    (name,) = [name for name in found.names("packages/") if name.endswith("/recipe.lock.yml")]
    good = found.read(name)
    put(found, name, f"name: !!python/object/apply:os.system ['touch {canary}']\n".encode())
    assert product.build("--simulate", "--locked").publish == "repaired"
    assert found.read(name) == good
    assert not canary.exists()


READER = """
import json
import sys
from prefect.client.orchestration import get_client
import tests.tiny
read = []
with get_client(sync_client=True) as client:
    for task_run in sys.argv[1:]:
        state = client.read_task_run(task_run).state
        try:
            value = state.result(raise_on_failure=False, retry_result_failure=False)
            read.append([type(value).__name__, value.rows])
        except Exception as error:
            read.append([type(error).__name__, str(error)])
print(json.dumps(read))
"""


def test_a_state_read_in_another_process_gives_the_model_and_executes_no_plant(
    executed: Executed, stack: Settings, found: Bucket, tmp_path: Path
) -> None:
    from blocks.storage import register_blocks

    register_blocks(stack)
    planted = ["", "pickle", "class", "class in a record", "record of Prefect", "local path"]
    ids: list[str] = []

    @pipeline(name="noted")
    def noted() -> None:
        for seed in range(len(planted)):
            state = task_of(drawn)(call_of(drawn, seed=seed), return_state=True)
            ids.append(str(state.state_details.task_run_id))

    with listening(lambda step: None) as audience:
        noted()
    names = [result.object_name for result in audience.runs[-1].known.by_digest.values()]
    for name, plant in zip(names, planted, strict=True):
        if plant:
            put(found, name, PLANTS[plant](found.read(name), tmp_path / plant))
    done = subprocess.run(
        [sys.executable, "-c", READER, *ids], check=True, cwd=CHECKOUT, capture_output=True, text=True
    )
    good, *refused = json.loads(done.stdout)
    assert good == ["Text", 10]
    assert [kind for kind, _ in refused] == ["Damaged"] * len(refused)
    assert not [plant for plant in planted if plant and (tmp_path / plant).exists()]
