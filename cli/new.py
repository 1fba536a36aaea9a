"""`larder new pipeline NAME`: the skeleton of a pipeline, with a test that passes from the start."""

import keyword
import re
from pathlib import Path

import click

from larder.refusal import Problem, RefusedError
from larder.settings import CHECKOUT

SKELETON = Path(__file__).parent / "skeleton"
PLACES = {
    "flow.py.txt": "flows/{name}/flow.py",
    "definitions.py.txt": "flows/{name}/definitions.py",
    "schema.py.txt": "flows/{name}/schema.py",
    "deployed.py.txt": "flows/{name}/deployed.py",
    "main.py.txt": "flows/{name}/__main__.py",
    "stage.py.txt": "flows/{name}/stages/greet.py",
    "configuration.yml.txt": "flows/{name}/configuration/default.yml",
    "test.py.txt": "tests/flows/{name}/test_{name}.py",
}
EMPTY = ("flows/{name}/__init__.py", "flows/{name}/stages/__init__.py", "tests/flows/{name}/__init__.py")
DEPLOYMENT = """
  - name: {name}
    description: Says hello, until you let it do more.
    entrypoint: flows.{name}.deployed:{name}
    tags: [larder, {name}]
    work_pool:
      name: larder
      job_variables:
        stream_output: true
"""


@click.group()
def new() -> None:
    """Write the skeleton of something new into this checkout."""


@new.command(epilog="Example: larder new pipeline parking")
@click.argument("name")
def pipeline(name: str) -> int:
    """Write a pipeline's flow, definitions, stage, configuration, deployment and test."""
    try:
        written = write_pipeline(name, CHECKOUT)
    except RefusedError as error:
        click.echo(error, err=True)
        return 2
    for file in written:
        click.echo(f"wrote {file.relative_to(CHECKOUT)}")
    click.echo("added its deployment to prefect.yaml; ./setup.sh deploys it")
    click.echo(f"Try it: larder run {name}")
    return 0


def write_pipeline(name: str, checkout: Path) -> list[Path]:
    """Write the skeleton into a checkout; the files.

    Raises:
        RefusedError: the name cannot be one of a Python module, or is taken.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,49}", name) or keyword.iskeyword(name):
        expected = "lower-case letters, digits and '_', beginning with a letter, and no word of Python"
        raise RefusedError("larder new pipeline", Problem("name", repr(name), expected))
    if (checkout / "flows" / name).exists():
        raise RefusedError("larder new pipeline", Problem("name", repr(name), "a name that is not taken"))
    written = []
    for template, place in PLACES.items():
        file = checkout / place.format(name=name)
        file.parent.mkdir(parents=True, exist_ok=True)
        text = (SKELETON / template).read_text()
        file.write_text(
            text.replace("{{name}}", name).replace("{{Name}}", name.replace("_", " ").capitalize())
        )
        written.append(file)
    for place in EMPTY:
        (checkout / place.format(name=name)).touch()
    with (checkout / "prefect.yaml").open("a") as declared:
        declared.write(DEPLOYMENT.format(name=name))
    return written
