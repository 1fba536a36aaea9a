"""A product to build again and again: its recipe, its catalog, its bucket, and what each build came to."""

import copy
import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml

from cli.main import main
from flows.build.recipe.file import read_recipe
from flows.build.recipe.schema import Recipe, real, simulated
from larder.settings import CHECKOUT
from tests.services import remove_bucket

REAL, SIMULATED = "--real", "--simulate"
NOT_COMPARED = {"package.json", "build_metadata.json"}
LETTERS = {"reused": "R", "executed": "X", "healed": "H", "failed": "F", None: "-"}
RECIPE = {
    "name": "Thing",
    "product": "thing",
    "version": "25Q1",
    "inputs": {"datasets": [{"id": "a", "version": "1"}, {"id": "b", "version": "1"}]},
    "exports": {
        "zip_name": "thing",
        "datasets": [{"name": "a", "format": "csv"}, {"name": "b", "format": "parquet"}],
    },
}
"""Two inputs of one version each, and each of them exported."""


@dataclass(frozen=True)
class Answer:
    """What `larder build --json` answered."""

    exit_code: int
    document: dict[str, Any]
    said: str

    @property
    def outcomes(self) -> dict[str, str]:
        """What became of each stage, `load a` for the load of input a."""
        return {_title(step): step["outcome"] for step in self.document["stages"]}

    @property
    def reasons(self) -> dict[str, str]:
        """Why it ran, of each stage that did."""
        return {_title(step): step["reason"] for step in self.document["stages"] if step["reason"]}

    @property
    def ran(self) -> set[str]:
        """The results that this run says it made."""
        made = ("executed", "healed")
        return {step["result"] for step in self.document["stages"] if step["outcome"] in made}

    @property
    def publish(self) -> str | None:
        """What publishing came to."""
        return (self.document["package"] or {}).get("publish")

    @property
    def row(self) -> str:
        """A row of the table: plan, loads by name, build, package, publish; as `X RR X X published`.

        Models, and then commands, stand before build where there are any.
        """
        steps = self.outcomes
        loads, *others = (
            "".join(LETTERS[steps[name]] for name in sorted(steps) if name.startswith(f"{stage} "))
            for stage in ("load", "model", "command")
        )
        plan, *rest = (LETTERS[steps.get(name)] for name in ("plan", "build", "package"))
        return " ".join([plan, loads or "-", *filter(None, others), *rest, self.publish or "-"])

    def result(self, stage: str) -> str:
        """The URI of a stage's result."""
        return next(step["result"] for step in self.document["stages"] if _title(step) == stage)


@dataclass(frozen=True)
class Bucket:
    """A bucket, seen with no code of ours."""

    client: Any
    name: str

    def names(self, prefix: str = "") -> list[str]:
        """The objects below a prefix."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", ())]

    def read(self, name: str) -> bytes:
        """The bytes of an object."""
        content: bytes = self.client.get_object(Bucket=self.name, Key=name)["Body"].read()
        return content

    def put(self, name: str, content: bytes) -> None:
        """Write an object."""
        self.client.put_object(Bucket=self.name, Key=name, Body=content)

    def delete(self, name: str) -> None:
        """Delete an object."""
        self.client.delete_object(Bucket=self.name, Key=name)

    def document(self, name: str) -> dict[str, Any]:
        """A JSON object, by name or URI."""
        document: dict[str, Any] = json.loads(self.read(self.inside(name)))
        return document

    def inside(self, uri: str) -> str:
        """The name of the object that a URI names."""
        return uri.removeprefix(f"s3://{self.name}/")

    def made_by(self, flow_run: str) -> set[str]:
        """The results that say of themselves that this run made them."""
        return {
            f"s3://{self.name}/{name}"
            for name in self.names("results/")
            if self.document(name)["made"]["flow_run"] == flow_run
        }

    def package(self, product: str, version: str) -> dict[str, bytes]:
        """What is published of a version, without what may differ between two buckets."""
        prefix = f"packages/{product}/{version}/"
        files = {name.removeprefix(prefix): name for name in self.names(prefix)}
        return {name: self.read(whole) for name, whole in files.items() if name not in NOT_COMPARED}


@dataclass
class Product:
    """One recipe with a catalog and a bucket, built in this process or in another."""

    folder: Path
    bucket: Bucket
    environment: pytest.MonkeyPatch
    kind: str = SIMULATED
    recipe: dict[str, Any] = field(default_factory=lambda: copy.deepcopy(RECIPE))
    text: str | None = None
    """The recipe as it is written, where that matters."""
    file: Path | None = None
    """A file to build in place of that recipe."""
    answers: list[Answer] = field(default_factory=list)

    @property
    def inputs(self) -> list[dict[str, Any]]:
        """The inputs of the recipe."""
        datasets: list[dict[str, Any]] = self.recipe["inputs"]["datasets"]
        return datasets

    @property
    def catalog(self) -> Path:
        """The catalog's folder."""
        return self.folder / "catalog"

    @property
    def last(self) -> Answer:
        """What the last build came to."""
        return self.answers[-1]

    def offer(self, dataset: str, version: str, content: str) -> None:
        """Put a CSV file into the catalog."""
        file = self.catalog / dataset / version / f"{dataset}.csv"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)

    def command(self, *options: str) -> list[str]:
        """The words behind `larder` that build this recipe as it is now."""
        file = self.file or self.folder / "recipe.yml"
        if self.file is None:
            file.write_text(self.text or yaml.safe_dump(self.recipe, sort_keys=False))
        return ["build", str(file), self.kind, "--json", *options]

    @property
    def read(self) -> Recipe:
        """The recipe as the command reads it."""
        recipe = read_recipe(Path(self.command()[1]))
        return real(recipe) if self.kind == REAL else simulated(recipe)

    @property
    def offered(self) -> dict[str, str]:
        """What the catalog has."""
        files = sorted(self.catalog.rglob("*.csv"))
        return {str(file.relative_to(self.catalog)): file.read_text() for file in files}

    def build(self, *options: str) -> Answer:
        """Build in this process."""
        said, printed = io.StringIO(), io.StringIO()
        with redirect_stdout(printed), redirect_stderr(said):
            code = main(self.command(*options))
        assert printed.getvalue(), said.getvalue()
        return self.heard(Answer(code, json.loads(printed.getvalue()), said.getvalue()))

    def build_apart(self, *options: str, code: Path = CHECKOUT, **environment: str) -> Answer:
        """Build in a process of its own, by the code of a folder."""
        ended = subprocess.run(
            [sys.executable, "-m", "cli.main", *self.command(*options)],
            check=False,
            cwd=code,
            env={**os.environ, "PYTHONPATH": str(code), **environment},
            capture_output=True,
            text=True,
        )
        assert ended.stdout, ended.stderr
        return self.heard(Answer(ended.returncode, json.loads(ended.stdout), ended.stderr))

    def heard(self, answer: Answer) -> Answer:
        """Keep an answer. What the run says it made is what the bucket says it made."""
        self.answers.append(answer)
        assert answer.ran == self.bucket.made_by(answer.document["flow_run_id"])
        return answer

    @property
    def published(self) -> dict[str, bytes]:
        """The published files of the last build."""
        return self.bucket.package(self.last.document["product"], self.last.document["version"])

    @contextmanager
    def elsewhere(self) -> Iterator["Product"]:
        """The same recipe and catalog, built into an empty bucket by another home."""
        bucket = Bucket(self.bucket.client, f"test-{uuid4().hex[:12]}")
        bucket.client.create_bucket(Bucket=bucket.name)
        home = self.folder / bucket.name
        home.mkdir()
        (home / "mode").write_text("local\n")
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("LARDER_BUCKET", bucket.name)
            environment.setenv("LARDER_HOME", str(home))
            recipe = copy.deepcopy(self.recipe)
            yield replace(self, bucket=bucket, environment=environment, recipe=recipe, answers=[])
        remove_bucket(bucket.client, bucket.name)


def new_product(folder: Path, bucket: Bucket, environment: pytest.MonkeyPatch) -> Product:
    """The product of `RECIPE`, with version 1 of each input in its catalog."""
    product = Product(folder, bucket, environment)
    for dataset in ("a", "b"):
        product.offer(dataset, "1", f"id,{dataset}\n1,one\n2,\n")
    environment.setenv("LARDER_CATALOG_URL", str(product.catalog))
    return product


def sealed(document: Mapping[str, Any]) -> str:
    """The sha256 that a document of ours must hold of itself."""
    whole = {**document, "sha256": ""}
    plain = json.dumps(whole, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(plain.encode()).hexdigest()


def _title(step: Mapping[str, Any]) -> str:
    return f"{step['stage']} {step['dataset']}" if step["dataset"] else str(step["stage"])
