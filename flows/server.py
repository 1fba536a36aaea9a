"""Whether the Prefect server answers, asked without importing Prefect."""

import json
import os
import urllib.error
import urllib.request

ANSWER_SECONDS = 10
REMEDY = "Start one with ./setup.sh, or build without one: python -m flows.build RECIPE."


class ServerMissing(Exception):  # noqa: N818
    """No Prefect server answers where one was looked for."""


def api_url() -> str:
    """The API of the server that answers at `PREFECT_API_URL`.

    Raises:
        ServerMissing: none does; it says how to start one.
    """
    url = os.environ.get("PREFECT_API_URL")
    if not url:
        raise ServerMissing(f"No Prefect server is known: PREFECT_API_URL is not set. {REMEDY}")
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=ANSWER_SECONDS) as answer:  # noqa: S310
            json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            return url
        raise ServerMissing(f"The Prefect server at {url} answers {error.code}. {REMEDY}") from error
    except (OSError, ValueError) as error:
        raise ServerMissing(f"No Prefect server answers at {url}: {error}. {REMEDY}") from error
    return url


def run_page(flow_run_id: str) -> str:
    """Where the UI shows a flow run."""
    base = os.environ.get("PREFECT_UI_URL") or os.environ["PREFECT_API_URL"].removesuffix("/api")
    return f"{base}/runs/flow-run/{flow_run_id}"
