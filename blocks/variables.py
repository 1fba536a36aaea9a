"""The configurations of pipelines as Prefect Variables."""

import json
from typing import Any

from prefect.variables import Variable

from larder.configuration import MOST_CHARACTERS, Configurations
from larder.refusal import Problem, RefusedError


def register_variables(configurations: Configurations[Any]) -> list[str]:
    """Save each file of a pipeline's configurations as a Variable, over what was there; their names.

    Raises:
        RefusedError: a file is not as it should be, or holds more than a Variable can.
    """
    contents = {name: configurations.read(name).model_dump(mode="json") for name in configurations.names()}
    for name, content in contents.items():
        size = len(json.dumps(content))
        if size > MOST_CHARACTERS:
            file = str(configurations.folder / f"{name}.yml")
            expected = f"at most {MOST_CHARACTERS}, which is what a Prefect Variable holds"
            raise RefusedError(file, Problem("", f"{size} characters as JSON", expected))
    for name, content in contents.items():
        Variable.set(configurations.variable(name), content, overwrite=True)
    return [configurations.variable(name) for name in contents]
