"""The Prefect server's API, asked over HTTP: the command follows a run without importing Prefect."""

import os
import time
from collections.abc import Mapping
from typing import Any

import httpx

ANSWER_SECONDS = 30
BUSY_SECONDS = 30
BUSY_PAUSE_SECONDS = 1.0
BUSY = frozenset({429, 502, 503, 504})
"""What a server answers that can be asked again; Prefect's does where SQLite is locked."""
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
        self.http = httpx.Client(timeout=ANSWER_SECONDS, auth=auth, trust_env=False)
        try:
            self.ask("health")
        except httpx.HTTPError as error:
            raise ServerMissing(f"No Prefect server answers at {self.url}: {error}. {REMEDY}") from error

    def ask(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """What the API answers to a GET, or with a body to a POST; None where there is no such thing.

        A busy server is asked again, so a POST must be one that can be repeated.

        Raises:
            httpx.HTTPError: it refuses, or does not answer.
        """
        until = time.monotonic() + BUSY_SECONDS
        while (answer := self._ask(path, body)).status_code in BUSY and time.monotonic() < until:
            time.sleep(BUSY_PAUSE_SECONDS)
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        return answer.raise_for_status().json()

    def _ask(self, path: str, body: Mapping[str, Any] | None) -> httpx.Response:
        url = f"{self.url}/{path}"
        return self.http.get(url) if body is None else self.http.post(url, json=body)

    def run_page(self, flow_run_id: str) -> str:
        """Where the UI shows a flow run."""
        ui = os.environ.get("PREFECT_UI_URL") or f"{self.url.removesuffix('/api')}/v2"
        return f"{ui}/runs/flow-run/{flow_run_id}"
