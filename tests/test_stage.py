"""What a stage promises, seen through a tiny pipeline of three stages."""

from pathlib import Path

import pytest

from blocks.settings import Settings
from flows.run import Audience, listening
from tests.tiny import tiny


@pytest.fixture
def executed(stack: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Which stages were executed since it was last asked."""
    log = tmp_path / "executed"
    log.touch()
    monkeypatch.setenv("TINY_LOG", str(log))

    def since() -> list[str]:
        names = log.read_text().split()
        log.write_text("")
        return names

    return since


def outcomes(audience: Audience) -> dict[str, str]:
    """What became of each stage in the last run."""
    return {step.title: str(step.outcome) for step in audience.runs[-1].steps.values()}


def run_tiny(**arguments: int) -> dict[str, str]:
    with listening(lambda step: None) as audience:
        tiny(**arguments)
    return outcomes(audience)


def test_first_run_executes_second_reuses(executed) -> None:
    assert run_tiny() == {"draw": "executed", "double": "executed", "total": "executed"}
    assert executed() == ["draw", "double", "total"]
    assert run_tiny() == {"draw": "reused", "double": "reused", "total": "reused"}
    assert executed() == []


def test_changed_argument_runs_its_stage_alone(executed) -> None:
    run_tiny()
    executed()
    assert run_tiny(offset=1) == {"draw": "reused", "double": "reused", "total": "executed"}
    assert executed() == ["total"]
