"""Plan: from a recipe to its lock."""

import csv
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from flows.build.catalog import Catalog
from flows.build.input_files import READABLE
from flows.build.planning.checks import check_real
from flows.build.planning.read_options import option_problems
from flows.build.planning.resolve import Releases, Resolver
from flows.build.recipe.lock import Lock, LockedDataset, LockedInput
from flows.build.recipe.rules import input_names
from flows.build.recipe.schema import CATALOG, Dataset, Recipe, Seconds
from flows.tables.export import Exports
from flows.tables.file_types import FileType
from larder.refusal import Problem, RefusedError


def plan(
    recipe: Recipe,
    *,
    day: date,
    catalog: Catalog,
    releases: Releases,
    scratch: Path,
) -> Lock:
    """Resolve every version for a real build, and write `recipe.lock.yml` and `source_data_versions.csv`.

    Args:
        day: the run's day, for date strategies.

    Raises:
        RefusedError: where the recipe cannot really be built, or names what the catalog does not have.
        CatalogUnreachable: where the catalog did not answer.
    """
    check_real(recipe)
    refused = f"recipe of {recipe.product}"

    def refuse(problem: Problem) -> str:
        raise RefusedError(refused, problem)

    def file_type(dataset: Dataset, place: str) -> FileType:
        found = find_in_catalog(dataset, place, catalog)
        if isinstance(found, Problem):
            raise RefusedError(refused, found)
        if problems := tuple(option_problems(place, found, dataset.custom)):
            raise RefusedError(refused, *problems)
        return found

    warnings: list[str] = []
    resolver = Resolver(recipe, day, catalog, releases, refuse, file_type, warnings.append)
    return write_lock(resolver.locked(), scratch, warnings)


def find_in_catalog(dataset: Dataset, place: str, catalog: Catalog) -> FileType | Problem:
    """The file type that the catalog has of this input, or what is wrong with it."""
    version = dataset.version or ""
    given = dataset.file_type
    if given and catalog.has(dataset.id, version, given):
        return given
    given = given or catalog.preferred(dataset.id, version)
    known = catalog.file_types(dataset.id, version)
    if given in known and given in READABLE:
        return given
    valid = ", ".join(READABLE)
    if known:
        found = f"{given or 'no file type'}; the catalog has {', '.join(known)} of {dataset.id} {version}"
        return Problem(f"{place}.file_type", found, f"one that it has, and that can be read ({valid})")
    return _not_there(dataset, place, catalog)


def _not_there(dataset: Dataset, place: str, catalog: Catalog) -> Problem:
    if versions := catalog.versions(dataset.id):
        newest = ", ".join(reversed(versions[-10:]))
        return Problem(
            f"{place}.version", f"{dataset.version}", f"a version of {dataset.id} in the catalog: {newest}"
        )
    return Problem(f"{place}.id", dataset.id, catalog.like(dataset.id))


def write_lock(recipe: Recipe, scratch: Path, warnings: Sequence[str] = ()) -> Lock:
    """The lock of a recipe in which everything is resolved, with its two files."""
    recipe_lock = scratch / "recipe.lock.yml"
    recipe_lock.write_text(lock_text(recipe), encoding="utf-8")
    inputs = tuple(
        LockedInput(name=name, destination=dataset.destination, dataset=_locked(dataset, recipe))
        for name, dataset in zip(input_names(recipe.inputs.datasets), recipe.inputs.datasets, strict=True)
    )
    return Lock(
        name=recipe.name,
        product=recipe.product,
        version=recipe.version or "",
        simulated=recipe.simulate is not None,
        env=recipe.env,
        build=recipe.build,
        exports=recipe.exports or Exports(),
        inputs=inputs,
        seconds=recipe.simulate.seconds if recipe.simulate else Seconds(),
        recipe_lock=recipe_lock,
        warnings=tuple(dict.fromkeys(warnings)) or None,
        source_data_versions=_write_source_versions(inputs, scratch / "source_data_versions.csv"),
    )


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True

    def text(self, value: str) -> yaml.ScalarNode:
        """As YAML wants it, but with Unicode's own line breaks escaped: PyYAML would read them as spaces."""
        style = '"' if set(value) & set("\x85\u2028\u2029\ufeff") else None
        return self.represent_scalar("tag:yaml.org,2002:str", value, style)


_Dumper.add_representer(str, _Dumper.text)


def lock_text(recipe: Recipe) -> str:
    """A recipe as YAML; reading it gives an equal recipe."""
    value: Mapping[str, Any] = _in_order(
        recipe.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    )
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=float("inf"))


def _in_order(value: Any, *, by_name: bool = False) -> Any:
    """The same with the variables of each `env` in the order of their names, which has no meaning."""
    match value:
        case dict():
            names = sorted(value) if by_name else list(value)
            return {name: _in_order(value[name], by_name=name == "env") for name in names}
        case list():
            return [_in_order(item) for item in value]
        case _:
            return value


def _locked(dataset: Dataset, recipe: Recipe) -> LockedDataset:
    return LockedDataset(
        source=dataset.source or CATALOG,
        id=dataset.id,
        version=dataset.version or "",
        file_type=dataset.file_type or FileType.PARQUET,
        custom=dataset.custom,
        preprocessor=dataset.preprocessor,
        load_engine=dataset.load_engine,
        made_up=recipe.simulate is not None,
    )


def _write_source_versions(inputs: tuple[LockedInput, ...], path: Path) -> Path:
    """The planning department's columns: id, input name, version, file type; in the order of the names."""
    with path.open("w", newline="", encoding="utf-8") as lines:
        rows = csv.writer(lines, lineterminator="\n")
        rows.writerow(["schema_name", "dataset_name", "v", "file_type"])
        for item in sorted(inputs, key=lambda item: item.name):
            dataset = item.dataset
            rows.writerow([dataset.id, item.name, dataset.version, dataset.file_type.value])
    return path
