"""Runs with no server and no worker: Prefect's temporary API, in a home of its own."""

import logging
from typing import Any, TextIO

from botocore.exceptions import BotoCoreError, ClientError
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_HOME,
    PREFECT_LOGGING_TO_API_ENABLED,
    PREFECT_SERVER_ALLOW_EPHEMERAL_MODE,
    PREFECT_SERVER_ANALYTICS_ENABLED,
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS,
    temporary_settings,
)

from blocks.storage import register_blocks
from cli.asked import Asked
from cli.in_process import run_said
from larder import s3
from larder.settings import settings
from larder.store import Unreachable

STARTUP_SECONDS = 120


def run_without_server(asked: Asked, out: TextIO) -> dict[str, Any]:
    """Run a pipeline with a temporary API, which takes some seconds to come up."""
    now = settings()
    logging.getLogger("prefect").setLevel(logging.CRITICAL)
    print("No server is used: this run will not be in the Prefect UI.", file=out, flush=True)
    client = s3.client(now)
    try:
        s3.ensure_bucket(client, now.bucket_name)
    except (BotoCoreError, ClientError) as error:
        raise Unreachable(f"s3://{now.bucket_name}/", client.meta.endpoint_url, error) from error
    with temporary_settings(
        {
            PREFECT_HOME: now.home / "prefect-alone",
            PREFECT_SERVER_ALLOW_EPHEMERAL_MODE: True,
            PREFECT_SERVER_ANALYTICS_ENABLED: False,
            PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS: STARTUP_SECONDS,
            PREFECT_LOGGING_TO_API_ENABLED: False,
        },
        restore_defaults=[PREFECT_API_URL],
    ):
        register_blocks(now)
        return run_said(asked, out)
