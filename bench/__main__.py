"""Speed and memory beside stock Prefect and the raw limit.

    .venv/bin/python -m bench [rebuild] [handoff] [inputs] [models] [rows] [streams]

Every ratio comes from runs that alternate on one machine. The servers are the ones of local mode.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import handoff, inputs, models, rebuild, streams
from bench import rows as many_rows
from bench.table import Row, shown
from larder import s3
from larder.settings import Settings
from stack import servers
from stack.ports import HOST, free_ports

SUITES = {
    "rebuild": rebuild.rows,
    "handoff": handoff.rows,
    "inputs": inputs.rows,
    "models": models.rows,
    "rows": many_rows.rows,
    "streams": streams.rows,
}
START_SECONDS = 120


@contextmanager
def running(home: Path) -> Iterator[dict[str, str]]:
    """A store and a Prefect server of their own, as environment variables."""
    names = (*servers.STORE_PORTS, "server")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    given = Settings(
        s3_endpoint_url=f"http://{HOST}:{ports['s3']}",
        s3_access_key_id="bench",
        s3_secret_access_key="benchbenchbench",
        bucket="bench",
    )
    program = servers.minio_program()
    store = servers.minio(program, home, ports, given) if program else servers.seaweedfs(home, ports, given)
    daemons = [store, servers.prefect_server(home, ports["server"])]
    try:
        for daemon in daemons:
            daemon.start()
        for daemon in daemons:
            daemon.wait(START_SECONDS)
        s3.ensure_bucket(s3.client(given), given.bucket_name)
        yield {
            "LARDER_HOME": str(home),
            "LARDER_S3_ENDPOINT_URL": str(given.s3_endpoint_url),
            "LARDER_S3_ACCESS_KEY_ID": "bench",
            "LARDER_S3_SECRET_ACCESS_KEY": "benchbenchbench",
            "LARDER_BUCKET": "bench",
            "PREFECT_API_URL": f"http://{HOST}:{ports['server']}/api",
            "PREFECT_HOME": str(home / "client"),
            "PREFECT_LOGGING_LEVEL": "CRITICAL",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "1",
        }
    finally:
        for daemon in reversed(daemons):
            daemon.stop()


def main() -> int:
    """Run the suites that are named, or all; print one table."""
    wanted = sys.argv[1:] or list(SUITES)
    if unknown := [name for name in wanted if name not in SUITES]:
        print(f"Unknown suite {unknown[0]!r}: valid are {', '.join(SUITES)}.", file=sys.stderr)
        return 2
    found: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="larder-bench-") as folder:
        home = Path(folder)
        (home / "mode").write_text("local\n")
        with running(home) as environment:
            os.environ.update(environment)
            measure({}, "from blocks.storage import register_blocks; register_blocks(settings())")
            for name in wanted:
                print(f"{name} …", file=sys.stderr, flush=True)
                found += SUITES[name](measure, home)
    print(shown(found))
    return 0 if all(row.holds for row in found) else 1


def measure(environment: dict[str, str], code: str) -> Any:
    """Run Python code in a process of its own; what it passes to `tell`."""
    prelude = (
        "import json, sys, time\nfrom larder.settings import settings\n"
        "def tell(value): print('TOLD ' + json.dumps(value), flush=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", prelude + code],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    if done.returncode != 0:
        raise SystemExit(f"The measured code failed:\n{code}\n{done.stdout}\n{done.stderr}")
    told = [line for line in done.stdout.splitlines() if line.startswith("TOLD ")]
    return json.loads(told[-1].removeprefix("TOLD ")) if told else None


if __name__ == "__main__":
    sys.exit(main())
