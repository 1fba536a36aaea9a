"""What the Prefect server must hold: is it there, and made from this very code?"""

import base64
import hashlib
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml

from flows.build.recipe.file import read_recipe
from larder.settings import BLOCK_REFERENCE, CHECKOUT, Settings, settings
from stack.daemon import tail
from stack.servers import POOL
from stack.steps import SetupError

RECIPE = CHECKOUT / "recipe.yml"
CODE = ("blocks", "cli", "flows", "larder", "stack")
START_RUN = (sys.executable, "-m", "stack.start_run")
"""What a worker starts for each run."""
Body = Mapping[str, Any] | list[dict[str, Any]]
CREDENTIALS_REFERENCE = "minio-credentials/larder-store"
BUSY, ATTEMPTS = 503, 5
"""Prefect's server says so where its SQLite is locked by another request, and how often it is asked."""
CRASH_AUTOMATION = "larder: runs without a heartbeat have crashed"


def version(now: Settings, checkout: Path = CHECKOUT) -> str:
    """Names the code, the recipe and the settings from which everything on the server is made.

    Args:
        now: the settings of those who run builds
        checkout: where the checkout lies for them
    """
    digest = hashlib.sha256()
    files = [
        *(
            file
            for folder in CODE
            for kind in ("*.py", "*.yml")
            for file in sorted((CHECKOUT / folder).rglob(kind))
        ),
        *(CHECKOUT / name for name in ("prefect.yaml", "recipe.yml", "requirements.lock")),
    ]
    for file in files:
        digest.update(str(file.relative_to(CHECKOUT)).encode() + b"\0")
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    secret = now.s3_secret_access_key.get_secret_value() if now.s3_secret_access_key else ""
    for value in (
        str(checkout),
        now.s3_endpoint_url,
        now.s3_access_key_id,
        secret,
        now.bucket_name,
        now.timezone,
    ):
        digest.update(str(value).encode() + b"\0")
    return digest.hexdigest()[:16]


def missing(api_url: str, wanted_version: str | None = None) -> list[str]:
    """What is not on the server, by name; with a version, also a deployment of another version."""
    lacking = [
        block
        for block in (BLOCK_REFERENCE, CREDENTIALS_REFERENCE)
        if ask(api_url, "block_types/slug/{}/block_documents/name/{}", *block.split("/")) is None
    ]
    if ask(api_url, "work_pools/{}", POOL) is None:
        lacking.append(f"work pool {POOL}")
    if not ask(api_url, "automations/filter", body={"automations": {"name": {"any_": [CRASH_AUTOMATION]}}}):
        lacking.append(f"automation {CRASH_AUTOMATION!r}")
    for name in deployments():
        deployment = ask(api_url, "deployments/name/{}/{}", *name.split("/"))
        if deployment is None or wanted_version not in {None, deployment["version"]}:
            lacking.append(f"deployment {name}")
    return lacking


def deployments() -> list[str]:
    """The deployments that `prefect.yaml` declares, as Prefect names them: `build/build`."""
    declared = yaml.safe_load((CHECKOUT / "prefect.yaml").read_text())["deployments"]
    return [f"{one.get('flow', one['name'])}/{one['name']}" for one in declared]


def ensure_pool(api_url: str) -> None:
    """Creates the work pool, so that its worker need not; the worker puts its own template in."""
    if ask(api_url, "work_pools/{}", POOL) is None:
        ask(api_url, "work_pools/", body={"name": POOL, "type": "process"})


def register(environment: Mapping[str, str], log: Path) -> None:
    """Creates or updates all of it, in a process of its own, which imports Prefect.

    Raises:
        SetupError: it could not; names the log.
        RefusedError: the shipped recipe is wrong.
    """
    read_recipe(RECIPE)
    with log.open("w") as output:
        done = subprocess.run(
            [sys.executable, "-m", "stack.registration"],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            cwd=CHECKOUT,
        )
    if done.returncode != 0:
        raise SetupError(
            f"Registering blocks and deployments failed. The log is {log}; it ends with:\n{tail(log)}"
        )


def ask(api_url: str, path: str, *names: str, body: Body | None = None, method: str | None = None) -> Any:
    """What Prefect's API answers; None where it says that there is no such thing.

    Raises:
        OSError: it does not answer, or refuses.
    """
    url = f"{api_url}/" + path.format(*(quote(name, safe="") for name in names))
    content = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    if login := os.environ.get("PREFECT_API_AUTH_STRING"):
        headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
    request = urllib.request.Request(url, content, headers, method=method)  # noqa: S310
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for left in reversed(range(ATTEMPTS)):
        try:
            with opener.open(request, timeout=30) as response:
                return json.loads(response.read() or b"null")
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            if error.code != BUSY or not left:
                raise
            time.sleep(1)
    return None


def main() -> None:
    """Registers what this checkout and the settings say."""
    from blocks.register import register as register_now
    from blocks.variables import register_variables
    from cli.pipelines import pipeline_named, pipeline_names

    now = settings()
    recipe = read_recipe(RECIPE).model_dump(mode="json")
    register_now(now, version(now), {"build": {"recipe": recipe}}, START_RUN)
    for name in pipeline_names():
        found = pipeline_named(name)
        if found is not None and found.configurations is not None:
            register_variables(found.configurations)


if __name__ == "__main__":
    main()
