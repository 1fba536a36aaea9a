"""`larder ingest serve`."""

import subprocess
import sys

import httpx

from larder.settings import CHECKOUT


def test_the_sample_web_is_served_and_does_what_it_is_told() -> None:
    command = [sys.executable, "-m", "cli.main", "ingest", "serve", "--port", "0"]
    with subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            url = server.stdout.readline().split(" answers at ")[1].split(";")[0]
            before = httpx.get(f"{url}/files/branches.csv")
            assert before.text.startswith("id,name")
            told = httpx.post(f"{url}/tell", json={"path": "/files/branches.csv", "status": 503})
            assert told.status_code == 204
            assert httpx.get(f"{url}/files/branches.csv").status_code == 503
            httpx.post(f"{url}/tell", json={"path": "/files/branches.csv", "change": True})
            assert httpx.get(f"{url}/files/branches.csv").text != before.text
            assert httpx.post(f"{url}/tell", json={"path": "/", "stats": 1}).status_code == 400
        finally:
            server.kill()
