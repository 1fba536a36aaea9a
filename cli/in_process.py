"""Builds in this process, against the Prefect server."""

from typing import Any, TextIO

from cli.server import Server
from flows.build import report
from flows.build.flow import build
from larder.run import Audience, Step, listening


def run_here(options: dict[str, Any], out: TextIO) -> dict[str, Any]:
    """Build, saying each step as it happens; the document that says what it came to.

    Raises:
        ServerMissing: there is no server to run against.
    """
    server = Server()
    answer = run_said(options, out)
    if answer["flow_run_id"]:
        print(f"Prefect UI: {server.run_page(answer['flow_run_id'])}", file=out)
    return answer


def run_said(options: dict[str, Any], out: TextIO) -> dict[str, Any]:
    """Call the flow, and say each step as it happens; steps of several threads in lines of their own."""

    def hear(step: Step) -> None:
        out.write(f"{report.line(step)}\n")
        out.flush()

    with listening(hear) as audience:
        try:
            published = build(**options)
        except Exception as error:  # noqa: BLE001
            return _document(audience, options, None, error)
    return _document(audience, options, published, None)


def _document(
    audience: Audience, options: dict[str, Any], published: Any, error: Exception | None
) -> dict[str, Any]:
    if audience.runs:
        return report.of_run(audience.runs[-1], published, error)
    failure = error or RuntimeError("the run did not begin")
    return {**report.refusal(failure, options["recipe"].product), "state": "failed"}
