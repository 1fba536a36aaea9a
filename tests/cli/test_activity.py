"""`larder activity serve`."""

import subprocess
import sys

import httpx
import pytest

from larder.settings import CHECKOUT


@pytest.mark.parametrize(
    ("words", "statuses"), [((), [200, 200]), (("--users", "3", "--fault", "unavailable"), [503, 200])]
)
def test_the_sample_api_is_served_where_the_command_says(words: tuple[str, ...], statuses: list[int]) -> None:
    command = [sys.executable, "-m", "cli.main", "activity", "serve", "--port", "0", *words]
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        url = server.stdout.readline().split()[1]
        answers = [httpx.get(url).status_code for _ in statuses]
        server.kill()
    assert answers == statuses
