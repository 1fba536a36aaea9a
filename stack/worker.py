"""What the worker's container runs: a Prefect worker under the container's own name."""

import os
import socket
import sys

from stack.servers import POOL


def main() -> None:
    """Becomes the worker."""
    command = [
        *(sys.executable, "-m", "prefect", "worker", "start"),
        *("--pool", POOL, "--type", "process", "--name", socket.gethostname(), "--with-healthcheck"),
    ]
    os.execv(sys.executable, command)  # noqa: S606


if __name__ == "__main__":
    main()
