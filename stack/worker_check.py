"""A tiny run that says how the stack looks from a worker."""

import shutil
import socket
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import ArtifactCreate
from prefect.context import FlowRunContext

from larder import s3
from larder.leases import current_keeper, lease
from larder.orchestration import block
from larder.orchestration.block import BlockMissing
from larder.orchestration.flow import run_client
from larder.report import UI_TYPE
from larder.settings import settings
from larder.stage import NoRunError
from larder.waiting import LeaseUnavailable

ELSEWHERE = "larder-doctor-elsewhere"
"""A bucket that is nobody's."""
REFUSED = frozenset({"AccessDenied", "403"})

Found = dict[str, Any]


@flow(name="probe", flow_run_name="doctor", persist_result=False)
def probe() -> None:
    """Try what every build needs, and leave what was found beside the flow run, for the doctor."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        raise NoRunError
    client = run_client(context)
    found = {
        "worker": socket.gethostname(),
        "time": time.time(),
        "free_bytes": shutil.disk_usage(settings().home).free,
        "free_scratch_bytes": shutil.disk_usage(_existing(settings().scratch)).free,
        "kept_free_bytes": settings().keep_free_bytes,
        "free_temporary": _free_part(Path(tempfile.gettempdir())),
        "bucket": _tried(lambda: bucket(client)),
        "lease": _tried(leases),
    }
    client.create_artifact(ArtifactCreate(type=UI_TYPE, data=found, flow_run_id=context.flow_run.id))


def bucket(client: SyncPrefectClient) -> Found:
    """Write, read, list and delete through the saved block, and try a bucket that is not ours."""
    now, _ = block.load(settings(), client)
    store, name, content = s3.client(now), now.bucket_name, uuid.uuid4().bytes
    key = f"doctor/{uuid.uuid4().hex}"
    store.put_object(Bucket=name, Key=key, Body=content)
    read = store.get_object(Bucket=name, Key=key)["Body"].read()
    listed = store.list_objects_v2(Bucket=name, Prefix=key).get("KeyCount")
    store.delete_object(Bucket=name, Key=key)
    left = store.list_objects_v2(Bucket=name, Prefix=key).get("KeyCount")
    return {
        "name": name,
        "endpoint": store.meta.endpoint_url,
        "same": (read, listed, left) == (content, 1, 0),
        "confined": _is_refused(store),
    }


def leases() -> Found:
    """Hold a lease and let it go."""
    keeper, name = current_keeper(), f"doctor/{uuid.uuid4().hex}"
    with lease(name):
        held = keeper.taken(name)
    return {"kept_in": "Redis" if settings().redis_url else "files", "works": held and not keeper.taken(name)}


def _existing(folder: Path) -> Path:
    return folder if folder.exists() else _existing(folder.parent)


def _free_part(folder: Path) -> float:
    usage = shutil.disk_usage(folder)
    return usage.free / usage.total


def _is_refused(store: Any) -> bool:
    try:
        store.list_objects_v2(Bucket=ELSEWHERE, MaxKeys=1)
    except ClientError as error:
        return error.response["Error"]["Code"] in REFUSED
    return False


def _tried(look: Callable[[], Found]) -> Found:
    try:
        return {"error": None, **look()}
    except (BlockMissing, BotoCoreError, ClientError, LeaseUnavailable) as error:
        return {"error": f"{type(error).__name__}: {error}"}
