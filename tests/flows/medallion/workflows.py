"""A workflow to run again and again: its configuration, landing and bucket, and what each run came to."""

import copy
import io
import json
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from cli.asked import Asked, How, answered, foresee
from flows.medallion.flow import medallion
from flows.medallion.workflow.schema import Workflow
from larder.forecast import Forecast
from tests.recipes import Bucket

LETTERS = {"reused": "R", "executed": "X", "healed": "H", "failed": "F", None: "-"}
SITES = "site_id,borough\n1,Bronx\n2,Queens\n"
VISITS = "visit_id,site_id,visitors\n1,1,10\n2,2,20\n3,2,30\n"
WORKFLOW = {
    "workflow_id": "parks",
    "jobs": {
        "sites": {"primary_keys": "site_id"},
        "visits": {
            "primary_keys": "visit_id",
            "rules": [{"foreign_key": {"column": "site_id", "job": "sites"}}],
            "gold": {
                "breakdowns": "site_id",
                "models": {"total": "select sum(visitors) as visitors from silver"},
            },
        },
    },
}
"""Two jobs, the second of which needs the first."""


@dataclass(frozen=True)
class Answer:
    """What a run came to."""

    exit_code: int
    document: dict[str, Any]
    said: str

    @property
    def outcomes(self) -> dict[str, str]:
        """What became of each stage."""
        return {_title(step): step["outcome"] for step in self.document["stages"]}

    @property
    def ran(self) -> set[str]:
        """The stages that were executed."""
        return {title for title, outcome in self.outcomes.items() if outcome in {"executed", "healed"}}

    @property
    def publish(self) -> dict[str, str]:
        """What became of each folder."""
        folders = self.document["published"] or []
        return {folder["uri"].split("/", 3)[3].rsplit("/", 1)[0]: folder["publish"] for folder in folders}

    def rows(self, job: str) -> dict[str, Any]:
        """What became of the rows of a job's silver."""
        silver: dict[str, Any] = self.document["jobs"][job]["silver"]
        return silver


@dataclass
class Team:
    """A workflow, its landing and its bucket."""

    folder: Path
    bucket: Bucket
    workflow: dict[str, Any] = field(default_factory=lambda: copy.deepcopy(WORKFLOW))

    @property
    def id(self) -> str:
        """The workflow's name."""
        return str(self.workflow["workflow_id"])

    def job(self, name: str) -> dict[str, Any]:
        """The configuration of a job."""
        job: dict[str, Any] = self.workflow["jobs"][name]
        return job

    def land(self, job: str, name: str, content: str | bytes) -> None:
        """Put a file into landing."""
        data = content.encode() if isinstance(content, str) else content
        self.bucket.put(f"landing/{self.id}/{job}/{name}", data)

    def asked(self, how: How = How(), **arguments: Any) -> Asked:  # noqa: B008
        """A run of the workflow as it is now."""
        return Asked(medallion, {"configuration": Workflow.model_validate(self.workflow), **arguments}, how)

    def run(self, *, force: tuple[str, ...] = (), fail_at: str | None = None, **arguments: Any) -> Answer:
        """Run it in this process."""
        said, printed = io.StringIO(), io.StringIO()
        with redirect_stdout(printed), redirect_stderr(said):
            code = answered(self.asked(How(force, fail_at), **arguments), as_json=True)
        assert printed.getvalue(), said.getvalue()
        return Answer(code, json.loads(printed.getvalue()), said.getvalue())

    def foreseen(self, **arguments: Any) -> Forecast:
        """What a run would do."""
        return foresee(self.asked(**arguments))

    def published(self, layer: str, job: str) -> list[str]:
        """The files of a published folder."""
        prefix = f"{layer}/{self.id}/{job}/"
        return [name.removeprefix(prefix) for name in self.bucket.names(prefix)]

    def table(self, layer: str, job: str, name: str = "data", columns: str = "*") -> list[tuple[Any, ...]]:
        """The rows of a published table."""
        file = self.folder / "table.parquet"
        file.write_bytes(self.bucket.read(f"{layer}/{self.id}/{job}/{name}.parquet"))
        return duckdb.sql(f"select {columns} from '{file}'").fetchall()

    def everything(self) -> dict[str, bytes]:
        """All published files but the documents."""
        names = [name for layer in ("bronze", "silver", "gold") for name in self.bucket.names(f"{layer}/")]
        return {name: self.bucket.read(name) for name in names if not name.endswith("published.json")}


def _title(step: Mapping[str, Any]) -> str:
    return f"{step['stage']} {step['name']}" if step["name"] else str(step["stage"])
