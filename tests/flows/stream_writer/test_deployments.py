"""The deployments of the pipeline, on a real Prefect server."""

import pytest
from prefect import get_client

from blocks import register


@pytest.mark.parametrize(
    ("name", "when", "parameters"),
    [
        ("stream-writer/every-five-minutes", {"interval": 300.0}, {"configuration", "compact"}),
        ("stream-compaction/nightly", {"cron": "30 3 * * *"}, {"configuration"}),
    ],
)
def test_a_deployment_has_one_schedule_that_waits_to_be_switched_on(
    prefect_server: str, name: str, when: dict[str, object], parameters: set[str]
) -> None:
    flow, _, deployment = name.partition("/")
    (declared,) = [
        one
        for one in register.declared_deployments()
        if (register.flow_name(one), one["name"]) == (flow, deployment)
    ]
    with get_client(sync_client=True) as client:
        register.ensure_work_pool(client, ["true"])
        register.deploy(declared, "1", {}, register.schedules_of(declared, "Europe/Oslo"))
        found = client.read_deployment_by_name(name)
    (one,) = found.schedules
    assert not one.active
    assert when.items() <= one.schedule.model_dump(mode="json").items()
    assert parameters <= set(found.parameter_openapi_schema["properties"])
