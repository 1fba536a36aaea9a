"""What a run of medallion came to: rows of every job and layer, for programs and for people."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from flows.medallion.stages.layer import Gold, Silver
from larder.report import Ended, Link, Report, cell, table


class MedallionReport(Report):
    """The document and the page of a run."""

    def __init__(self) -> None:
        super().__init__(sections)

    def document(self, ended: Ended) -> dict[str, Any]:
        """The document that `--json` prints; of every job that came so far, its rows."""
        return {**super().document(ended), "jobs": jobs(ended)}

    def nothing_to_do(self, document: Mapping[str, Any]) -> str:
        """What the command says where there was nothing to do."""
        return f"{document['about'].get('workflow_id', document['pipeline'])}: nothing to do"

    def key(self, ended: Ended) -> str:
        """What the UI calls the page."""
        return f"medallion-{ended.label('workflow_id') or ''}"


def jobs(ended: Ended) -> dict[str, dict[str, Any]]:
    """What became of the rows of each job."""
    told: dict[str, dict[str, Any]] = {}
    for title, value in ended.values.items():
        if isinstance(value, Silver | Gold):
            layer, _, job = title.partition(" ")
            told.setdefault(job, {})[layer] = value.told
    return told


def sections(ended: Ended, link: Link) -> Iterable[str]:  # noqa: ARG001
    """Rows, rejected rows and schemas of all jobs."""
    told = jobs(ended)
    silvers = {job: layers["silver"] for job, layers in told.items() if "silver" in layers}
    if not silvers:
        return
    yield "## Rows\n\n" + table(
        ("job", "rows in", "rows out", "rejected", "duplicates", "made from"), _rows(silvers)
    )
    rejected = [
        (cell(job), cell(rule), f"{count:,}")
        for job, silver in silvers.items()
        for rule, count in silver["rejected_by"].items()
    ]
    if rejected:
        yield "## Rejected rows\n\n" + table(("job", "rule", "rows"), rejected)
    tables = [
        (cell(job), cell(name), f"{rows:,}", cell(", ".join(layers["gold"]["parents"])))
        for job, layers in told.items()
        for name, rows in layers.get("gold", {}).get("rows", {}).items()
    ]
    if tables:
        yield "## Gold\n\n" + table(("job", "table", "rows", "made from"), tables)
    yield "## Schemas of silver\n\n" + table(
        ("job", "columns"),
        [
            (cell(job), cell(", ".join(f"{name} {type_}" for name, type_ in silver["schema"].items())))
            for job, silver in silvers.items()
        ],
    )


def _rows(silvers: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    for job, silver in silvers.items():
        counts = [f"{silver[name]:,}" for name in ("rows_in", "rows_out", "rows_rejected", "duplicates")]
        read = {name: f" ({rows:,} rows)" for name, rows in silver["read"].items()}
        yield (cell(job), *counts, cell(", ".join(f"{one}{read.get(one, '')}" for one in silver["parents"])))
