"""Creates or updates all that the Prefect server holds for Larder; any number of times."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import yaml
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.schedules import CronSchedule
from prefect.deployments.runner import RunnerDeployment
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.runner.storage import LocalStorage
from prefect.workers.process import ProcessWorker

from blocks.storage import register_blocks
from larder.settings import CHECKOUT, Settings

POOL = "larder"
CRASH_AUTOMATION = "larder: runs without a heartbeat have crashed"
CRASH_AFTER = timedelta(seconds=90)
KEPT = ("schedules", "paused", "concurrency_limit", "concurrency_options")
"""What people set in the UI: Prefect's own update would clear it."""


def register(now: Settings, version: str, parameters: Mapping[str, dict[str, Any]]) -> None:
    """Blocks, work pool, automation, and last the deployments of `prefect.yaml`.

    Args:
        now: where the store is
        version: what the deployments carry
        parameters: default parameters, by the deployment's name
    """
    register_blocks(now)
    with get_client(sync_client=True) as client:
        ensure_work_pool(client)
        ensure_crash_automation(client)
        for declared in yaml.safe_load((CHECKOUT / "prefect.yaml").read_text())["deployments"]:
            schedules = [] if has_schedules(client, declared) else declared.get("schedules", [])
            deploy(declared, version, parameters.get(declared["name"], {}), schedules)


def ensure_work_pool(client: SyncPrefectClient) -> None:
    """The pool whose worker runs each build as a process in the checkout."""
    template = ProcessWorker.get_default_base_job_template()
    with suppress(ObjectAlreadyExists):
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process", base_job_template=template))


def ensure_crash_automation(client: SyncPrefectClient) -> None:
    """Prefect's own automation that marks a run Crashed when its process is gone."""
    wanted = AutomationCore(
        name=CRASH_AUTOMATION,
        description="A run whose process was killed sends no heartbeat and would stay Running for ever.",
        trigger=EventTrigger(
            after={"prefect.flow-run.heartbeat"},
            expect={"prefect.flow-run.*"},
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=CRASH_AFTER,
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                message=f"No heartbeat for {CRASH_AFTER.seconds} s: the process that ran this is gone.",
            )
        ],
    )
    found = client.read_automations_by_name(CRASH_AUTOMATION)
    if not found:
        client.create_automation(wanted)
    elif found[0].trigger != wanted.trigger or found[0].actions != wanted.actions:
        client.update_automation(found[0].id, wanted)
    for surplus in found[1:]:
        client.delete_automation(surplus.id)


def has_schedules(client: SyncPrefectClient, declared: Mapping[str, Any]) -> bool:
    """Whether the deployment is there and people may have set its schedules."""
    flow = declared["entrypoint"].rpartition(":")[2]
    try:
        return bool(client.read_deployment_by_name(f"{flow}/{declared['name']}").schedules)
    except ObjectNotFound:
        return False


def deploy(
    declared: Mapping[str, Any],
    version: str,
    parameters: dict[str, Any],
    schedules: Sequence[Mapping[str, Any]] = (),
) -> None:
    """One deployment as `prefect.yaml` declares it, run in the checkout. Without `schedules` its own stay."""
    deployment = RunnerDeployment.from_entrypoint(
        str(CHECKOUT / declared["entrypoint"]),
        name=declared["name"],
        description=declared.get("description"),
        tags=declared.get("tags"),
        parameters=parameters,
        version=version,
        work_pool_name=declared["work_pool"]["name"],
        job_variables=declared["work_pool"].get("job_variables"),
        schedules=[_schedule(one) for one in schedules] or None,
    )
    deployment.entrypoint = declared["entrypoint"]
    deployment.storage = LocalStorage(str(CHECKOUT))
    deployment.model_fields_set.difference_update(KEPT)
    if schedules:
        deployment.model_fields_set.add("schedules")
    deployment.apply()


def _schedule(declared: Mapping[str, Any]) -> DeploymentScheduleCreate:
    schedule = CronSchedule(cron=declared["cron"], timezone=declared["timezone"])
    return DeploymentScheduleCreate(schedule=schedule, active=declared["active"], slug=declared["slug"])
