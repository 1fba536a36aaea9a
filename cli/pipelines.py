"""The pipelines that there are: the folders of `flows/` that have a flow."""

import importlib
from typing import Any

from larder.pipeline import Pipeline
from larder.settings import CHECKOUT

BODY = "flow.py"


def pipeline_names() -> list[str]:
    """The names of all pipelines, as `larder run NAME` takes them."""
    return sorted(file.parent.name for file in (CHECKOUT / "flows").glob(f"*/{BODY}"))


def pipeline_named(name: str) -> Pipeline[..., Any] | None:
    """The pipeline of a folder: what its flow calls by the folder's name."""
    if name not in pipeline_names():
        return None
    found = getattr(importlib.import_module(f"flows.{name}.flow"), name, None)
    return found if isinstance(found, Pipeline) else None
