"""Runs in this process, against the Prefect server."""

from typing import Any, TextIO

from cli.asked import Asked
from cli.server import Server
from larder.outcomes import Step, listening
from larder.report import line


def run_in_process(asked: Asked, out: TextIO) -> dict[str, Any]:
    """Run a pipeline, saying each step as it happens; the document that says what it came to.

    Raises:
        ServerMissing: there is no server to run against.
    """
    server = Server()
    document = run_said(asked, out)
    if document["flow_run_id"]:
        print(f"Prefect UI: {server.run_page(document['flow_run_id'])}", file=out)
    return document


def run_said(asked: Asked, out: TextIO) -> dict[str, Any]:
    """Call the flow, and say each step as it happens; steps of several threads in lines of their own."""
    from larder.orchestration.flow import flow_of
    from larder.orchestration.page import ended_run

    def hear(step: Step) -> None:
        out.write(f"{line(step)}\n")
        out.flush()

    value, error = None, None
    with listening(hear) as audience:
        try:
            value = flow_of(asked.pipeline)(**asked.options)
        except Exception as raised:  # noqa: BLE001
            error = raised
    if audience.runs:
        return asked.pipeline.report.document(ended_run(audience.runs[0], value, error))
    failure = error or RuntimeError("the run did not begin")
    return {**asked.refusal(failure), "state": "failed"}
