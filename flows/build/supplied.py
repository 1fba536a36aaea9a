"""What stages are given besides their arguments: limits, and what there is on this machine."""

import os
import tempfile
from pathlib import Path

from pydantic import SecretStr

from flows.build.stages.surroundings import Surroundings
from flows.tables import measures
from flows.tables.bounds import Bounds
from larder.setting_values import Confine
from larder.settings import CHECKOUT, Settings

SHARE_OF_MEMORY = 0.75
"""What stages may take of the memory that there is; the rest is for the processes that call them."""
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def bounds_of(now: Settings) -> Bounds:
    """What every stage may take of this machine."""
    return Bounds(
        stage_seconds=now.stage_seconds,
        stage_bytes=now.stage_bytes,
        stage_processes=now.stage_processes,
        input_seconds=now.input_seconds,
        input_bytes=now.input_bytes,
        input_memory_bytes=now.input_memory_bytes,
        memory_bytes=now.memory_bytes or int(measures.memory_there_is() * SHARE_OF_MEMORY),
        memory_file=Path(tempfile.gettempdir()) / f"larder-memory-{os.getuid()}",
        keep_free_bytes=now.keep_free_bytes,
    )


def surroundings_of(now: Settings) -> Surroundings:
    """What commands find on this machine. Of our environment they see no more than this."""
    allowed = {name: os.environ[name] for name in now.recipe_secrets if name in os.environ}
    return Surroundings(
        must_be_confined=now.confine is Confine.REQUIRED,
        programs=os.environ.get("PATH", os.defpath),
        certificates={name: os.environ[name] for name in CERTIFICATES if name in os.environ},
        readable=now.command_paths,
        hidden=(now.home, CHECKOUT / ".env", Path.home() / ".prefect"),
        secrets={name: SecretStr(value) for name, value in allowed.items()},
    )
