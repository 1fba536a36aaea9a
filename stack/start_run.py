"""What a worker starts for each run: Prefect's engine, which waits for a server that is away.

Prefect's own patience of some seconds would lose a build of hours to a database that is restarted.
"""

import os
import runpy

PATIENCE = {"PREFECT_CLIENT_MAX_RETRIES": "8", "PREFECT_CLIENT_RETRY_EXTRA_CODES": "500"}
"""Asked again after 2, 4, 8, … seconds, for over eight minutes. A server whose database is away says 500."""


def main() -> None:
    """Becomes the engine of the run that the environment names."""
    os.environ.update(PATIENCE)
    runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
