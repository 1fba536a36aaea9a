"""A recipe with every version resolved."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Protocol

from flows.build.catalog import Catalog
from flows.build.planning.versions import NotBumpableError, bump, newest, newest_before, rivals
from flows.build.recipe.rules import input_names
from flows.build.recipe.schema import (
    CATALOG,
    LATEST,
    VERSION_PREV,
    BumpLatestRelease,
    Dataset,
    Inputs,
    MissingVersions,
    PinToSourceDataset,
    Recipe,
    Strategy,
    finds_previous,
)
from flows.tables.file_types import FileType
from larder.refusal import Problem, RefusedError

MOST_RIVALS = 3


class Releases(Protocol):
    """The versions of the product that real builds have published."""

    def versions(self) -> Sequence[str]:
        """All of them, in any order."""
        ...

    def lock(self, version: str) -> Recipe:
        """The recipe that stands in the `recipe.lock.yml` of one of them."""
        ...


@dataclass(frozen=True)
class Resolver:
    """Resolves one recipe against what there is on one day."""

    recipe: Recipe
    day: date
    catalog: Catalog
    releases: Releases
    unresolved: Callable[[Problem], str]
    """The version to take where nothing gives one; may refuse by raising."""
    file_type: Callable[[Dataset, str], FileType]
    """The file type of an input whose version is known, with its place; may refuse by raising."""
    warn: Callable[[str], object]
    """Is told where it is not clear which version is the newest."""

    def locked(self) -> Recipe:
        """The recipe with the product's version, and every input's version and file type, in it.

        Raises:
            RefusedError: where that is not possible.
            CatalogUnreachable: where the catalog did not answer.
        """
        match self.recipe.version_strategy:
            case None:
                return self._locked_as(self.recipe.version or "")
            case Strategy.TODAY:
                return self._locked_as(self.day.isoformat())
            case Strategy.FIRST_OF_MONTH:
                return self._locked_as(self.day.replace(day=1).isoformat())
            case Strategy.BUMP_LATEST_RELEASE:
                return self._locked_as_next(1)
            case BumpLatestRelease(bump_latest_release=steps):
                return self._locked_as_next(steps)
            case PinToSourceDataset(pin_to_source_dataset=name):
                return self._locked_as(self._version_of_input(name))

    def _locked_as(self, version: str) -> Recipe:
        datasets = tuple(self._dataset(at, version) for at in range(len(self.recipe.inputs.datasets)))
        for name, times in Counter(input_names(datasets)).items():
            if times > 1:
                raise self._refusal("inputs.datasets", f"{name} {times} times", "inputs that differ")
        env = dict(self.recipe.env)
        if finds_previous(self.recipe) and (previous := newest_before(self._released, version)):
            env[VERSION_PREV] = previous
        return self.recipe.model_copy(
            update={
                "env": env,
                "version": version,
                "version_strategy": None,
                "version_type": None,
                "inputs": Inputs(datasets=datasets),
            }
        )

    def _locked_as_next(self, steps: int) -> Recipe:
        """The newest release's lock if nothing changed since, else the lock of the version after it."""
        last = newest(self._released)
        if last is None:
            problem = Problem("version_strategy", "no release of this product", "a version to begin with")
            return self._locked_as(self.unresolved(problem))
        again = self._locked_as(last)
        if again == self.releases.lock(last):
            return again
        try:
            return self._locked_as(bump(last, self.recipe.version_type, steps))
        except NotBumpableError as error:
            raise self._refusal(
                "version_strategy", f"newest release {last}", f"another one: {error}"
            ) from error

    def _version_of_input(self, name: str) -> str:
        place = "version_strategy.pin_to_source_dataset"
        datasets = self.recipe.inputs.datasets
        names = input_names(datasets)
        at = [i for i, dataset in enumerate(datasets) if names[i] == name] or [
            i for i, dataset in enumerate(datasets) if dataset.id == name
        ]
        if len(at) != 1:
            found = f"{name}, which {len(at)} inputs are called" if at else f"{name}, which is no input"
            raise self._refusal(place, found, "one of " + ", ".join(names))
        return self._version(at[0], None)

    def _dataset(self, at: int, version: str) -> Dataset:
        dataset = self.recipe.inputs.datasets[at].model_copy(
            update={
                "version": self._version(at, version),
                "version_env_var": None,
                "source": self.recipe.inputs.datasets[at].source or CATALOG,
            }
        )
        return dataset.model_copy(update={"file_type": self.file_type(dataset, f"inputs.datasets[{at}]")})

    def _version(self, at: int, product_version: str | None) -> str:
        dataset, place = self.recipe.inputs.datasets[at], f"inputs.datasets[{at}]"
        strategy = self.recipe.inputs.missing_versions_strategy
        if dataset.version not in (None, LATEST):
            return str(dataset.version)
        if dataset.version is None and dataset.version_env_var:
            return self._from_variable(dataset.version_env_var, f"{place}.version_env_var", product_version)
        if dataset.version is None and strategy is MissingVersions.COPY_LATEST_RELEASE:
            return self._copied(dataset, f"{place}.version")
        return self._latest(dataset, f"{place}.version")

    def _from_variable(self, variable: str, place: str, product_version: str | None) -> str:
        previous = None
        if variable == VERSION_PREV and product_version:
            previous = newest_before(self._released, product_version)
        if previous:
            return previous
        found = f"{variable}, which is not set"
        if variable == VERSION_PREV and product_version:
            found += f", and no release before {product_version}"
        expected = f"its value: --var {variable}=VERSION, the recipe's env, or the environment"
        return self.unresolved(Problem(place, found, expected))

    def _copied(self, dataset: Dataset, place: str) -> str:
        last = newest(self._released)
        if last is None:
            found, expected = "no version and no release of this product to copy it from", "a version"
            return self.unresolved(Problem(place, found, expected))
        same_id = [other for other in self.releases.lock(last).inputs.datasets if other.id == dataset.id]
        same_name = [other for other in same_id if other.import_as == dataset.import_as]
        versions = {other.version for other in same_name or same_id if other.version}
        if len(versions) == 1:
            return versions.pop()
        found = f"no version, and {len(versions)} of {dataset.id} in release {last} to copy it from"
        return self.unresolved(Problem(place, found, "a version"))

    def _latest(self, dataset: Dataset, place: str) -> str:
        if dataset.source not in (None, CATALOG):
            return self.unresolved(Problem(place, f"no version of {dataset.source}", "a version"))
        versions = self.catalog.versions(dataset.id)
        last = newest(versions)
        if last is None:
            found = f"{dataset.id}, of which the catalog has no versions"
            if aliases := self.catalog.aliases(dataset.id):
                found += f" but {', '.join(aliases)}, which names another one tomorrow"
            return self.unresolved(Problem(place, found, self.catalog.like(dataset.id)))
        if others := rivals(last, versions):
            also = ", ".join(others[:MOST_RIVALS]) + (", …" if len(others) > MOST_RIVALS else "")
            self.warn(f"{dataset.id}: {last} was taken for the newest; {also} may be as new: name a version")
        return last

    @cached_property
    def _released(self) -> tuple[str, ...]:
        return tuple(self.releases.versions())

    def _refusal(self, place: str, found: str, expected: str) -> RefusedError:
        return RefusedError(f"recipe of {self.recipe.product}", Problem(place, found, expected))
