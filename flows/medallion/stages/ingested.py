"""Ingested: the instant at which a content first came."""

from datetime import datetime

from larder.artifacts import Output


class Ingested(Output):
    """When a content was first ingested."""

    at: str
    """`2026-01-31T12:00:00`, in UTC."""


def ingested(sha256: str, *, now: datetime) -> Ingested:  # noqa: ARG001
    """Say when a content was first ingested: now, for it is asked once for each content."""
    return Ingested(at=now.strftime("%Y-%m-%dT%H:%M:%S"))
