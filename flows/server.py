"""The Prefect server's API, asked over HTTP: the command follows a run without importing Prefect."""

import os
from collections.abc import Mapping
from typing import Any

import httpx

ANSWER_SECONDS = 30
REMEDY = "Start one with ./setup.sh, or build without one: python -m flows.build RECIPE."


class ServerMissing(Exception):  # noqa: N818
    """No Prefect server answers where one was looked for, or it lacks what setup makes."""


class Server:
    """The server at `PREFECT_API_URL`.

    Raises:
        ServerMissing: none answers there; it says how to start one.
    """

    def __init__(self) -> None:
        self.url = os.environ.get("PREFECT_API_URL", "").rstrip("/")
        if not self.url:
            raise ServerMissing(f"No Prefect server is known: PREFECT_API_URL is not set. {REMEDY}")
        user, _, password = os.environ.get("PREFECT_API_AUTH_STRING", "").partition(":")
        auth = httpx.BasicAuth(user, password) if user else None
        self.http = httpx.Client(timeout=ANSWER_SECONDS, auth=auth)
        try:
            self.ask("health")
        except httpx.HTTPError as error:
            raise ServerMissing(f"No Prefect server answers at {self.url}: {error}. {REMEDY}") from error

    def ask(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """What the API answers to a GET, or with a body to a POST; None where there is no such thing.

        Raises:
            httpx.HTTPError: it refuses, or does not answer.
        """
        url = f"{self.url}/{path}"
        answer = self.http.get(url) if body is None else self.http.post(url, json=body)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        return answer.raise_for_status().json()

    def run_page(self, flow_run_id: str) -> str:
        """Where the UI shows a flow run."""
        ui = os.environ.get("PREFECT_UI_URL") or self.url.removesuffix("/api")
        return f"{ui}/runs/flow-run/{flow_run_id}"
