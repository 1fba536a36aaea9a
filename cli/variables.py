"""A configuration for a command: the file named, else the Prefect Variable, else the pipeline's own file."""

import base64
import http.client
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from larder.pipeline import Pipeline
from larder.refusal import Problem, RefusedError

ANSWER_SECONDS = 5


def configuration_for(pipeline: Pipeline[..., Any], given: str | None, changes: Sequence[str]) -> Any:
    """The configuration of a run.

    Args:
        given: a name, or the path of a YAML file; the default one where None
        changes: `NAME=VALUE`, a dotted path and YAML, put over it

    Raises:
        RefusedError: it is not there, or not as it should be.
    """
    known = pipeline.configurations
    if known is None:
        raise RefusedError(
            pipeline.name, Problem("configuration", repr(given), "none: it takes no configuration")
        )
    name = given or known.default
    if given and (given.endswith((".yml", ".yaml")) or ("/" in given and Path(given).is_file())):
        model, origin = known.read_file(Path(given)), given
    elif (stored := stored_variable(known.variable(name))) is not None:
        origin = f"Prefect Variable {known.variable(name)}"
        model = known.check(stored, origin)
    else:
        model, origin = known.read(name), name
    if not changes:
        return model
    content = model.model_dump(mode="json")
    for change in changes:
        _put(content, change)
    return known.check(content, f"{origin} with --set")


def stored_variable(name: str) -> Mapping[str, Any] | None:
    """What a Prefect Variable holds; None where there is no server, or none of that name."""
    url = urlsplit(os.environ.get("PREFECT_API_URL", ""))
    if not url.hostname:
        return None
    made = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    connection = made(url.hostname, url.port, timeout=ANSWER_SECONDS)
    login = os.environ.get("PREFECT_API_AUTH_STRING")
    headers = {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"} if login else {}
    try:
        connection.request("GET", f"{url.path.rstrip('/')}/variables/name/{name}", headers=headers)
        answer = connection.getresponse()
        content = answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    if answer.status != http.client.OK:
        return None
    value = json.loads(content)["value"]
    return value if isinstance(value, Mapping) else None


def _put(content: dict[str, Any], change: str) -> None:
    path, equals, text = change.partition("=")
    if not equals or not path:
        raise RefusedError("--set", Problem("option", repr(change), "NAME=VALUE, as limits.pages=3"))
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RefusedError("--set", Problem(path, repr(text), "a value in YAML")) from error
    *above, last = path.split(".")
    place: Any = content
    for name in above:
        place = place.get(name) if isinstance(place, dict) else None
        if not isinstance(place, dict):
            raise RefusedError("--set", Problem(path, repr(name), "names that are there"))
    place[last] = value
