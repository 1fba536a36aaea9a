"""Following a run on a worker: what it waits for, and what it came to where the server cannot tell."""

import io
from uuid import uuid4

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.states import Pending, Scheduled
from rich.console import Console

from cli.asked import Asked, How
from cli.following import Following, from_the_bucket, waits_for
from cli.server import Server, ServerMissing
from flows.build.flow import build
from tests.recipes import Product

pytestmark = pytest.mark.usefixtures("quick")


@flow
def anything() -> None:
    """Never runs."""


@pytest.fixture
def run_id(prefect_server: str) -> str:
    """A run that waits in a work pool of its own, which has no worker."""
    pool = f"pool-{uuid4().hex[:8]}"
    with get_client(sync_client=True) as client:
        client.request("POST", "/work_pools/", json={"name": pool, "type": "process"})
        flow_id = client.create_flow(anything)
        deployment = client.create_deployment(flow_id, "waits", work_pool_name=pool)
        return str(client.create_flow_run_from_deployment(deployment, state=Scheduled()).id)


def test_what_a_run_waits_for_is_said(run_id: str) -> None:
    server = Server()
    run = server.ask(f"flow_runs/{run_id}")
    pool = run["work_pool_name"]
    assert waits_for(server, run) == f"no worker of work pool {pool} is online (see ./setup.sh doctor)"
    heartbeat(pool)
    assert "a worker with room for it" in waits_for(server, run)
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run["id"], Pending(), force=True)
    assert waits_for(server, server.ask(f"flow_runs/{run_id}")) == "a worker takes it"


def heartbeat(pool: str) -> None:
    """A worker says that it is there."""
    with get_client(sync_client=True) as client:
        client.request("POST", f"/work_pools/{pool}/workers/heartbeat", json={"name": "one"})


def test_a_run_that_is_deleted_while_it_is_followed(run_id: str) -> None:
    with get_client(sync_client=True) as client:
        delete(client, run_id)
    following = Following(Server(), run_id, Console(file=io.StringIO()))
    with pytest.raises(ServerMissing, match="was deleted while it was followed"):
        following.to_its_end()


def delete(client: SyncPrefectClient, run_id: str) -> None:
    client.request("DELETE", f"/flow_runs/{run_id}")


def test_a_run_that_left_no_report_is_told_from_the_bucket(product: Product) -> None:
    asked, said = Asked(build, {"recipe": product.read}, How(on_worker=True)), io.StringIO()
    crashed = {"id": str(uuid4()), "state": {"type": "CRASHED"}, "state_name": "Crashed"}
    assert from_the_bucket(asked, crashed, said) is None
    built = product.build().document
    document = from_the_bucket(asked, {**crashed, "id": built["flow_run_id"]}, said)
    assert document is not None
    assert document["state"] == "completed"
    assert document["flow_run_id"] == built["flow_run_id"]
    assert {stage["outcome"] for stage in document["stages"]} == {"executed"}
    assert document["package"]["files"] == built["package"]["files"]
    assert "The server says Crashed" in said.getvalue()
    by_another = from_the_bucket(asked, crashed, said)
    assert by_another is not None
    assert {stage["outcome"] for stage in by_another["stages"]} == {"reused"}


def test_a_forced_run_is_not_told_from_what_was_there_before(product: Product) -> None:
    product.build()
    asked = Asked(build, {"recipe": product.read}, How(force=("build",), on_worker=True))
    run = {"id": str(uuid4()), "state": {"type": "CRASHED"}, "state_name": "Crashed"}
    assert from_the_bucket(asked, run, io.StringIO()) is None
