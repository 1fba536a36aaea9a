"""`larder doctor`."""

import subprocess
import sys

import click

from larder.settings import CHECKOUT


@click.command(epilog="Exit code: 0 if all checks hold, else 1. Example: larder doctor --json")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def doctor(as_json: bool) -> int:
    """Check that everything which setup started works, a tiny run on the worker included."""
    words = [sys.executable, "-P", "-m", "stack", "doctor", *(["--json"] if as_json else [])]
    return subprocess.run(words, check=False, cwd=CHECKOUT).returncode
