"""Runs that are going on, as Prefect's server has it, and of which nothing was heard for minutes."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from stack import registration

OPEN = ("PENDING", "RUNNING", "CANCELLING")
SILENCE = timedelta(minutes=3)
"""Runs say every half minute that they live."""
MOST = 200


@dataclass(frozen=True)
class StuckRun:
    """A run that is going on and silent."""

    pipeline: str
    run: dict[str, Any]
    """As Prefect's API describes it."""

    @property
    def product(self) -> str:
        """What it is about."""
        return product_of(self.run)

    @property
    def minutes(self) -> float:
        """How long it has been in its state."""
        return (datetime.now(UTC) - _since(self.run)).total_seconds() / 60


def stuck_runs(api_url: str) -> list[StuckRun]:
    """The stuck runs of our pipelines.

    Raises:
        OSError: the server does not answer.
    """
    return list(_stuck(api_url))


def product_of(run: dict[str, Any]) -> str:
    """The product that a run is about, else its name."""
    recipe = run["parameters"].get("recipe")
    product = recipe.get("product") if isinstance(recipe, dict) else None
    return str(product or run["name"])


def _stuck(api_url: str) -> Iterator[StuckRun]:
    ours = [name.partition("/")[0] for name in registration.deployments()]
    open_runs = {"state": {"type": {"any_": list(OPEN)}}}
    asked = {"flow_runs": open_runs, "flows": {"name": {"any_": ours}}, "limit": MOST}
    for run in registration.ask(api_url, "flow_runs/filter", body=asked) or ():
        if datetime.now(UTC) - _since(run) > SILENCE and not _was_heard_of(api_url, run["id"]):
            flow = registration.ask(api_url, "flows/{}", run["flow_id"])
            yield StuckRun(flow["name"], run)


def _since(run: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(run["state"]["timestamp"])


def _was_heard_of(api_url: str, run_id: str) -> bool:
    wanted = {
        "occurred": {"since": (datetime.now(UTC) - SILENCE).isoformat()},
        "event": {"prefix": ["prefect.flow-run."]},
        "resource": {"id": [f"prefect.flow-run.{run_id}"]},
    }
    found = registration.ask(api_url, "events/filter", body={"filter": wanted, "limit": 1})
    return bool(found["events"])
