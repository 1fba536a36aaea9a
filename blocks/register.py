"""Creates or updates all that the Prefect server holds for Larder; any number of times."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import yaml
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.deployments.runner import RunnerDeployment
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.workers.process import ProcessWorker

from blocks.storage import register_blocks
from larder.settings import CHECKOUT, Settings

POOL = "larder"
CRASH_AUTOMATION = "larder: runs without a heartbeat have crashed"
CRASH_AFTER = timedelta(minutes=10)
"""A server or a Redis that was away for some minutes has lost heartbeats of runs that live."""
ARMING_EVENTS = ("Pending", "Submitting", "Running", "Retrying", "Cancelling", "heartbeat")
"""After each of these something must be heard of a run: it starts, sends heartbeats, or ends."""
KEPT = ("schedules", "paused", "concurrency_limit", "concurrency_options")
"""What people set in the UI: Prefect's own update would clear it."""


class DeploymentRefused(ValueError):  # noqa: N818
    """A deployment of `prefect.yaml` is not as the rest of Larder expects it."""


def register(
    now: Settings, version: str, parameters: Mapping[str, dict[str, Any]], command: Sequence[str]
) -> None:
    """Blocks, work pool, automation, and last the deployments of `prefect.yaml`.

    Args:
        now: where the store is
        version: what the deployments carry
        parameters: default parameters, by the deployment's name
        command: what a worker starts for each run

    Raises:
        DeploymentRefused: a deployment is not named as its flow is.
    """
    declared = declared_deployments()
    register_blocks(now)
    with get_client(sync_client=True) as client:
        ensure_work_pool(client, command)
        ensure_crash_automation(client, {flow_name(one) for one in declared})
        for one in declared:
            there = move_schedules(client, f"{flow_name(one)}/{one['name']}", now.timezone)
            schedules = [] if there else schedules_of(one, now.timezone)
            deploy(one, version, parameters.get(one["name"], {}), schedules)


def declared_deployments() -> list[dict[str, Any]]:
    """What `prefect.yaml` declares."""
    found: list[dict[str, Any]] = yaml.safe_load((CHECKOUT / "prefect.yaml").read_text())["deployments"]
    return found


def flow_name(declared: Mapping[str, Any]) -> str:
    """The name of a deployment's flow: its own name, where no other is declared."""
    return str(declared.get("flow", declared["name"]))


def ensure_work_pool(client: SyncPrefectClient, command: Sequence[str]) -> None:
    """The pool whose worker runs each build as a process, started by this command.

    Without a command of ours Prefect would start another process first, which imports all of Prefect to say
    where the code lies.
    """
    template = ProcessWorker.get_default_base_job_template()
    template["variables"]["properties"]["command"]["default"] = shlex.join(command)
    with suppress(ObjectAlreadyExists):
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process", base_job_template=template))
        return
    client.update_work_pool(POOL, WorkPoolUpdate(base_job_template=template))


def ensure_crash_automation(client: SyncPrefectClient, flows: Iterable[str]) -> None:
    """Prefect's own automation that marks a run Crashed when nothing is heard of it for long.

    It is for runs whose whole machine is gone; others are looked for by who started them. It knows the runs
    of these flows alone: other flows may send their heartbeats less often.
    """
    wanted = AutomationCore(
        name=CRASH_AUTOMATION,
        description="A run whose process was killed sends no heartbeat and would never end.",
        trigger=EventTrigger(
            after={f"prefect.flow-run.{event}" for event in ARMING_EVENTS},
            expect={"prefect.flow-run.*"},
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            match_related=ResourceSpecification(
                {"prefect.resource.role": ["flow"], "prefect.resource.name": sorted(flows)}
            ),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=CRASH_AFTER,
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                message=f"Nothing was heard of it for {CRASH_AFTER.seconds // 60} minutes.",
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


def move_schedules(client: SyncPrefectClient, name: str, timezone: str) -> bool:
    """Let a deployment's schedules mean this time zone; whether it has any, which people may have set."""
    try:
        found = client.read_deployment_by_name(name)
    except ObjectNotFound:
        return False
    for one in found.schedules:
        if getattr(one.schedule, "timezone", timezone) != timezone:
            moved = one.schedule.model_copy(update={"timezone": timezone})
            client.update_deployment_schedule(found.id, one.id, schedule=moved)
    return bool(found.schedules)


def schedules_of(declared: Mapping[str, Any], timezone: str) -> list[DeploymentScheduleCreate]:
    """The schedules of a deployment, in a time zone."""
    return [_schedule(one, timezone) for one in declared.get("schedules", [])]


def deploy(
    declared: Mapping[str, Any],
    version: str,
    parameters: dict[str, Any],
    schedules: Sequence[DeploymentScheduleCreate] = (),
) -> None:
    """One deployment as `prefect.yaml` declares it. Without `schedules` and `parameters` its own stay.

    Its flow is imported as a module, so that a run has the same code and names as every other reader.

    Raises:
        DeploymentRefused: it is not named as its flow is.
    """
    deployment = RunnerDeployment.from_entrypoint(
        declared["entrypoint"].replace(":", "."),
        name=declared["name"],
        description=declared.get("description"),
        tags=declared.get("tags"),
        parameters=parameters,
        version=version,
        work_pool_name=declared["work_pool"]["name"],
        job_variables=declared["work_pool"].get("job_variables"),
        schedules=list(schedules) or None,
    )
    if deployment.flow_name != flow_name(declared):
        raise DeploymentRefused(
            f"prefect.yaml: deployment {declared['name']!r} has the flow {deployment.flow_name!r} at "
            f"{declared['entrypoint']}. Give both one name, or declare the flow's as `flow`."
        )
    deployment.model_fields_set.difference_update(KEPT)
    if schedules:
        deployment.model_fields_set.add("schedules")
    if not parameters:
        deployment.model_fields_set.discard("parameters")
    deployment.apply()


def _schedule(declared: Mapping[str, Any], timezone: str) -> DeploymentScheduleCreate:
    """A schedule in a time zone: a cron expression, or an interval in seconds."""
    schedule: CronSchedule | IntervalSchedule = (
        CronSchedule(cron=declared["cron"], timezone=timezone)
        if "cron" in declared
        else IntervalSchedule(interval=timedelta(seconds=declared["interval"]), timezone=timezone)
    )
    return DeploymentScheduleCreate(schedule=schedule, active=declared["active"], slug=declared["slug"])
