"""Grafana's files: what it would refuse or silently leave out. The queries are asked in `test_monitoring`."""

import json
from collections import Counter
from collections.abc import Iterator

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from larder.settings import CHECKOUT
from tests.deployed import DASHBOARD

PROVISIONING = CHECKOUT / "monitoring" / "grafana" / "provisioning"
PANELS = {"row", "stat", "table", "timeseries"}


@pytest.fixture(scope="module")
def dashboard() -> dict[str, object]:
    """The dashboard as it lies in the file."""
    return dict(json.loads(DASHBOARD.read_text()))


def left_out(given: object, kept: object, path: str = "") -> Iterator[str]:
    """Where something is not as it was given."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for name, value in given.items():
            if name in kept:
                yield from left_out(value, kept[name], f"{path}.{name}")
            else:
                yield f"{path}.{name}"
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for number, (value, other) in enumerate(zip(given, kept, strict=True)):
            yield from left_out(value, other, f"{path}[{number}]")
    elif given != kept:
        yield path


def test_grafanas_own_schema_knows_every_field(dashboard: dict[str, object]) -> None:
    register_default_plugins()
    kept = json.loads(JSONEncoder().encode(Dashboard.from_json(dashboard)))
    assert not list(left_out(dashboard, kept))
    spoilt = json.loads(DASHBOARD.read_text().replace('"legendFormat"', '"legendformat"'))
    assert list(left_out(spoilt, json.loads(JSONEncoder().encode(Dashboard.from_json(spoilt)))))


def test_panels_say_what_they_show_and_do_not_overlap(dashboard: dict[str, object]) -> None:
    panels = dashboard["panels"]
    assert isinstance(panels, list)
    assert {panel["type"] for panel in panels} <= PANELS
    assert len({panel["id"] for panel in panels}) == len(panels)
    shown = [panel for panel in panels if panel["type"] != "row"]
    assert all(panel["description"] and panel["title"] and panel["targets"] for panel in shown)
    cells = Counter(
        (column, line)
        for at in (panel["gridPos"] for panel in panels)
        for column in range(at["x"], at["x"] + at["w"])
        for line in range(at["y"], at["y"] + at["h"])
    )
    assert set(cells.values()) == {1}
    assert max(column for column, _ in cells) < 24


def test_every_panel_asks_a_data_source_that_is_provisioned(dashboard: dict[str, object]) -> None:
    found = yaml.safe_load((PROVISIONING / "datasources" / "larder.yml").read_text())
    known = {(source["type"], source["uid"]) for source in found["datasources"]}
    asked = {
        (target["datasource"]["type"], target["datasource"]["uid"])
        for panel in dashboard["panels"]  # type: ignore[attr-defined]
        for target in panel.get("targets", ())
    }
    assert asked <= known


def test_the_dashboard_lies_where_grafana_is_told_to_look() -> None:
    services = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())["services"]
    volumes = dict(volume.split(":")[:2] for volume in services["grafana"]["volumes"])
    found = yaml.safe_load((PROVISIONING / "dashboards" / "larder.yml").read_text())
    folder = found["providers"][0]["options"]["path"]
    assert volumes["./monitoring/grafana/dashboards"] == folder
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{folder}/{DASHBOARD.name}"
