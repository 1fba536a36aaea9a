"""What a recipe may hold."""

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from flows.build.recipe.rules import input_names
from flows.tables.export import Exports
from flows.tables.file_types import FileType
from flows.tables.sql_model import Model
from larder.artifacts import Frozen
from larder.names import Alias, Below, Custom, DurationSeconds, Environment, Name, Title, Variable, wrong

LATEST = "latest"


SIMULATED = "simulated"
"""What a simulated build calls a version that nothing gives."""


VERSION_PREV = "VERSION_PREV"
"""The one `version_env_var` that plan resolves by itself: the newest release before this version."""


CATALOG = "catalog"
"""The one source that can really be read."""


class Destination(StrEnum):
    """Where commands want an input."""

    POSTGRES = "postgres"
    DUCKDB = "duckdb"
    DF = "df"
    FILE = "file"


class MissingVersions(StrEnum):
    """Where the version of an input comes from that gives none."""

    FIND_LATEST = "find_latest"
    COPY_LATEST_RELEASE = "copy_latest_release"


class VersionType(StrEnum):
    """Which part of a version is bumped."""

    MAJOR = "major"
    MINOR = "minor"
    PATCH = "patch"


class Strategy(StrEnum):
    """How the product's version is found where the recipe does not name it."""

    TODAY = "today"
    FIRST_OF_MONTH = "first_of_month"
    BUMP_LATEST_RELEASE = "bump_latest_release"


class BumpLatestRelease(Frozen):
    """`bump_latest_release` by more than one step."""

    bump_latest_release: int = Field(ge=1, le=1000)


class PinToSourceDataset(Frozen):
    """The product has the version of one of its inputs."""

    pin_to_source_dataset: Alias


def _strategy(value: object) -> object:
    valid = (*Strategy, "{bump_latest_release: N}", "{pin_to_source_dataset: ID}")
    try:
        match value:
            case None | BumpLatestRelease() | PinToSourceDataset():
                return value
            case {"bump_latest_release": _}:
                return BumpLatestRelease.model_validate(value)
            case {"pin_to_source_dataset": _}:
                return PinToSourceDataset.model_validate(value)
            case _:
                return Strategy(str(value))
    except ValueError as error:
        raise ValueError("one of " + ", ".join(valid)) from error


VersionStrategy = Annotated[
    Strategy | BumpLatestRelease | PinToSourceDataset | None, BeforeValidator(_strategy)
]


class Preprocessor(Frozen):
    """A Python function that an input passes through."""

    module: str
    function: str


class DatasetDefaults(Frozen):
    """What inputs have that do not say otherwise."""

    source: Name | None = None
    file_type: FileType | None = None
    destination: Destination | None = None
    preprocessor: Preprocessor | None = None
    load_engine: Name | None = None
    custom: Custom = {}


class Dataset(Frozen):
    """One input."""

    id: Name
    version: Name | None = None
    version_env_var: Variable | None = None
    import_as: Alias | None = None
    source: Name | None = None
    file_type: FileType | None = None
    destination: Destination | None = None
    preprocessor: Preprocessor | None = None
    load_engine: Name | None = None
    archive_date: str | None = None
    url: str | None = None
    custom: Custom = {}

    @model_validator(mode="before")
    @classmethod
    def _older_word(cls, value: Any) -> Any:
        if not isinstance(value, Mapping) or "name" not in value:
            return value
        given = {key: item for key, item in value.items() if key != "name"}
        if given.setdefault("id", value["name"]) != value["name"]:
            raise wrong(f"id {given['id']!r} and name {value['name']!r}", "one of them, or the same twice")
        return given

    def with_defaults(self, defaults: DatasetDefaults) -> Self:
        """This input with `defaults` where it says nothing, and the catalog where they neither do."""
        absent = {name: value for name, value in defaults if getattr(self, name) in (None, {})}
        return self.model_copy(update={**absent, "source": self.source or defaults.source or CATALOG})


class Inputs(Frozen):
    """What a product is made from."""

    missing_versions_strategy: MissingVersions | None = None
    dataset_defaults: DatasetDefaults | None = None
    datasets: tuple[Dataset, ...] = ()

    @model_validator(mode="after")
    def _told_apart(self) -> Self:
        seen: dict[object, int] = {}
        for at, dataset in enumerate(self.datasets):
            version = dataset.version or dataset.version_env_var
            same = seen.setdefault((dataset.id, version, dataset.import_as), at)
            if same != at:
                found = f"datasets[{at}], which is datasets[{same}] ({dataset.import_as or dataset.id}) again"
                raise wrong(found, "inputs that differ in id, version or import_as")
        for name, times in Counter(input_names(self.datasets)).items():
            if times > 1 and "@" not in name:
                raise wrong(f"{times} inputs called {name!r}", "inputs with different names")
        return self


class ValueFrom(Frozen):
    """Where a value is read when the command starts."""

    env: Variable


class ConnectorArg(Frozen):
    """One argument of a destination. A secret is named by `value_from` and never resolved here."""

    name: str
    value: str | None = None
    value_from: ValueFrom | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.value is None) == (self.value_from is None):
            found = "neither value nor value_from" if self.value is None else "value and value_from"
            raise wrong(found, "one of them")
        return self


class CommandType(StrEnum):
    """What `run` of a command is."""

    SHELL = "shell"
    PYTHON = "python"


class Command(Frozen):
    """One command of a build."""

    name: Name
    run: str = Field(min_length=1)
    command_type: CommandType = CommandType.SHELL
    env: Environment = {}
    limit_seconds: float | None = Field(None, gt=0, le=7 * 86_400, allow_inf_nan=False)
    """Ours: after which it is ended, with all that it started."""
    limit_bytes: int | None = Field(None, gt=0, le=2**50)
    """Ours: how much disk it may fill."""
    libraries: tuple[str, ...] = ()
    """Ours: the installed libraries that it uses; every one counts in its key where none is named."""


class StageConfig(Frozen):
    """How one stage is run."""

    destination: str | None = None
    destination_key: str | None = None
    env: Environment = {}
    connector_args: tuple[ConnectorArg, ...] = ()
    commands: tuple[Command, ...] = ()
    files: tuple[Below, ...] = ()
    tables: tuple[Name, ...] = ()
    models: dict[Name, Model] = {}

    @model_validator(mode="after")
    def _told_apart(self) -> Self:
        for name, times in Counter(command.name for command in self.commands).items():
            if times > 1:
                raise wrong(f"{times} commands called {name!r}", "commands with different names")
        return self


class Distribution(Frozen):
    """Where a finished product goes."""

    destination_ids: tuple[str, ...] = ()


class Seconds(Frozen):
    """How long simulated stages take."""

    load: DurationSeconds = 0.0
    build: DurationSeconds = 0.0
    package: DurationSeconds = 0.0


class Simulate(Frozen):
    """Present in a recipe whose builds are simulated."""

    seconds: Seconds = Seconds()


BUILD = "builds.build"


class Recipe(Frozen):
    """What to build, from which inputs, into which files; base recipe, variables and defaults are put in."""

    name: Title
    product: Name
    version: Name | None = None
    version_strategy: VersionStrategy = None
    version_type: VersionType | None = None
    branch: str | None = None
    build_name: str | None = None
    env: Environment = {}
    inputs: Inputs
    stage_config: dict[Name, StageConfig] = {}
    exports: Exports | None = None
    distribution: Distribution | None = None
    custom: Custom = {}
    simulate: Simulate | None = None

    @model_validator(mode="before")
    @classmethod
    def _older_vars(cls, value: Any) -> Any:
        if not isinstance(value, Mapping) or not isinstance(value.get("vars"), Mapping):
            return value
        env = value.get("env", {})
        rest = {key: item for key, item in value.items() if key != "vars"}
        return {**rest, "env": {**value["vars"], **env}} if isinstance(env, Mapping) else rest

    @model_validator(mode="after")
    def _one_version(self) -> Self:
        if (self.version is None) == (self.version_strategy is None):
            found = "neither version nor version_strategy" if self.version is None else "both"
            raise wrong(found, "one of version and version_strategy")
        return self

    @property
    def build(self) -> StageConfig:
        """The configuration of the build stage."""
        return self.stage_config.get(BUILD, StageConfig())


def is_floating(recipe: Recipe) -> bool:
    """Whether the recipe's lock can change while its text does not."""
    moving = isinstance(recipe.version_strategy, Strategy | BumpLatestRelease)
    moving = moving or (recipe.version is None and finds_previous(recipe))
    return moving or any(dataset.version in (None, LATEST) for dataset in recipe.inputs.datasets)


def finds_previous(recipe: Recipe) -> bool:
    """Whether plan is to tell the recipe's commands which release came before."""
    runs = recipe.simulate is None and bool(recipe.build.commands)
    return runs and VERSION_PREV not in recipe.env


def simulated(recipe: Recipe) -> Recipe:
    """The recipe, to be simulated."""
    return recipe.model_copy(update={"simulate": recipe.simulate or Simulate()})


def real(recipe: Recipe) -> Recipe:
    """The recipe, to be built for real."""
    return recipe.model_copy(update={"simulate": None})
