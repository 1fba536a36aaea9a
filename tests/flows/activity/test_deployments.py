"""The deployments of the pipeline, on a real Prefect server."""

from typing import Any

import pytest
from prefect import get_client
from prefect.client.schemas.responses import DeploymentResponse

from blocks import register

DECLARED = {
    one["name"]: one for one in register.declared_deployments() if register.flow_name(one) == "activity"
}


def deployed(name: str, timezone: str = "Europe/Oslo", **parameters: Any) -> DeploymentResponse:
    """One deployment, as setup makes it."""
    with get_client(sync_client=True) as client:
        register.ensure_work_pool(client, ["true"])
        full = f"activity/{name}"
        there = register.move_schedules(client, full, timezone)
        schedules = [] if there else register.schedules_of(DECLARED[name], timezone)
        register.deploy(DECLARED[name], "1", parameters, schedules)
        return client.read_deployment_by_name(full)


@pytest.mark.parametrize(
    ("name", "when"),
    [
        ("daily-data-refresh", {"cron": "0 2 * * *"}),
        ("six-hourly-refresh", {"cron": "0 */6 * * *"}),
        ("hourly-refresh", {"interval": 3600.0}),
        ("business-hours-refresh", {"cron": "0 9-17 * * 1-5"}),
    ],
)
def test_a_deployment_has_one_schedule_that_waits_to_be_switched_on(
    prefect_server: str, name: str, when: dict[str, object]
) -> None:
    found = deployed(name)
    (one,) = found.schedules
    schedule = one.schedule.model_dump(mode="json")
    assert not one.active
    assert schedule["timezone"] == "Europe/Oslo"
    assert when.items() <= schedule.items()
    assert set(found.tags) == {"larder", "activity"}
    assert {"configuration", "refresh", "force", "fail_at"} <= set(
        found.parameter_openapi_schema["properties"]
    )


def test_what_people_set_for_a_deployment_stays_and_its_time_zone_is_that_of_the_settings(
    prefect_server: str,
) -> None:
    first = deployed("hourly-refresh")
    with get_client(sync_client=True) as client:
        path = f"/deployments/{first.id}"
        client._client.patch(path, json={"parameters": {"refresh": ["users"]}}).raise_for_status()
        client.update_deployment_schedule(first.id, first.schedules[0].id, active=True)
    again = deployed("hourly-refresh", timezone="Asia/Tokyo")
    assert again.parameters == {"refresh": ["users"]}
    assert [one.active for one in again.schedules] == [True]
    assert again.schedules[0].schedule.timezone == "Asia/Tokyo"
