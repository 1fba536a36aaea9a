"""The recipe and its lock as models, and the one error that means: fix the recipe."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, model_validator
from pydantic_core import PydanticCustomError

from flows.artifacts import File, Frozen, Output

LATEST = "latest"
SIMULATED = "simulated"
"""What a simulated build calls a version that nothing gives."""
VERSION_PREV = "VERSION_PREV"
"""The one `version_env_var` that plan resolves by itself: the newest release before this version."""
CATALOG = "catalog"
"""The one source that can really be read."""

RESERVED_FILE_NAMES = (
    "package.json",
    "recipe.lock.yml",
    "build_metadata.json",
    "source_data_versions.csv",
    "SHA256SUMS",
    "data_dictionary.csv",
    "data_dictionary.md",
)
"""File names of a package that publishing and packaging use themselves."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in a recipe."""

    place: str
    """Dotted path, `inputs.datasets[3].version`; empty for the recipe as a whole."""
    found: str
    expected: str
    line: int | None = None

    def __str__(self) -> str:
        line = f" (line {self.line})" if self.line else ""
        return f"{self.place or 'recipe'}{line}: found {self.found}; expected {self.expected}"


class RecipeError(Exception):
    """The recipe has to be fixed before it can be built.

    Args:
        file: the file, or what else the recipe is called.
        problems: everything that is wrong, at least one.
    """

    def __init__(self, file: str, *problems: Problem) -> None:
        super().__init__(file, *problems)
        self.file = file
        self.problems = problems

    @property
    def place(self) -> str:
        return self.problems[0].place

    @property
    def found(self) -> str:
        return self.problems[0].found

    @property
    def expected(self) -> str:
        return self.problems[0].expected

    def __str__(self) -> str:
        if len(self.problems) == 1:
            return f"{self.file}: {self.problems[0]}."
        listed = "".join(f"\n  {problem}." for problem in self.problems)
        return f"{self.file}: {len(self.problems)} problems:{listed}"


_PLAIN = "at most 100 ASCII letters, digits, '_', '.', '-', beginning with a letter or digit"


def is_plain_name(text: str) -> bool:
    """Whether `text` may become part of an object name or a path."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", text) is not None


def _wrong(found: str, expected: str) -> PydanticCustomError:
    return PydanticCustomError("wrong", "{expected}", {"found": found, "expected": expected})


def _name(text: str) -> str:
    if not is_plain_name(text):
        raise ValueError(f"a plain name ({_PLAIN})")
    return text


def _alias(text: str) -> str:
    if not is_plain_name(text.removeprefix("_")) or len(text) > 100:
        raise ValueError(f"a plain name ({_PLAIN} or '_')")
    return text


def _file_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_. -]{0,99}", text):
        raise ValueError(f"a plain file name ({_PLAIN}; spaces are allowed)")
    return text


def _folder(text: str) -> str:
    for part in text.removesuffix("/").split("/"):
        if not is_plain_name(part):
            raise ValueError(f"a folder below the package, each part a plain name ({_PLAIN})")
    return text.removesuffix("/")


def _below(text: str) -> str:
    if not text or text.startswith(("/", "~")) or ".." in text.split("/") or "\0" in text:
        raise ValueError("a path or pattern below the recipe's folder, without '..'")
    return text


def _title(text: str) -> str:
    if not 0 < len(text.strip()) <= 200 or not text.isprintable():
        raise ValueError("a title of 1 to 200 printable characters")
    return text


def _variable(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,99}", text):
        raise ValueError("the name of a variable (letters, digits, '_')")
    return text


def _environment_value(text: str) -> str:
    if "\0" in text:
        raise ValueError("text without NUL")
    return text


Name = Annotated[str, AfterValidator(_name)]
Alias = Annotated[str, AfterValidator(_alias)]
FileName = Annotated[str, AfterValidator(_file_name)]
Folder = Annotated[str, AfterValidator(_folder)]
Below = Annotated[str, AfterValidator(_below)]
Title = Annotated[str, AfterValidator(_title)]
Variable = Annotated[str, AfterValidator(_variable)]
Environment = dict[Variable, Annotated[str, AfterValidator(_environment_value)]]
Custom = dict[str, JsonValue]
DurationSeconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]


class FileType(StrEnum):
    """What an input is in its catalog."""

    PARQUET = "parquet"
    CSV = "csv"
    JSON = "json"
    GEOJSON = "geojson"
    XLSX = "xlsx"
    SHAPEFILE = "shapefile"
    GDB = "gdb"
    PG_DUMP = "pg_dump"
    OTHER = "Other"


class ExportFormat(StrEnum):
    """What a table is exported as."""

    CSV = "csv"
    PARQUET = "parquet"
    JSON = "json"
    GEOJSON = "geojson"
    GEOPARQUET = "geoparquet"
    GPKG = "gpkg"
    XLSX = "xlsx"
    SHP = "shp"
    GDB = "gdb"
    DAT = "dat"


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
            raise _wrong(f"id {given['id']!r} and name {value['name']!r}", "one of them, or the same twice")
        return given

    def with_defaults(self, defaults: DatasetDefaults) -> Self:
        """This input with `defaults` where it says nothing, and the catalog where they neither do."""
        absent = {name: value for name, value in defaults if getattr(self, name) in (None, {})}
        return self.model_copy(update={**absent, "source": self.source or defaults.source or CATALOG})


def input_names(datasets: tuple[Dataset, ...]) -> tuple[str, ...]:
    """What each input is called: `import_as`, else its id; `<id>@<version>` where that id stands often."""
    unnamed = Counter(dataset.id for dataset in datasets if dataset.import_as is None)
    return tuple(
        dataset.import_as or (dataset.id if unnamed[dataset.id] == 1 else f"{dataset.id}@{dataset.version}")
        for dataset in datasets
    )


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
                raise _wrong(found, "inputs that differ in id, version or import_as")
        for name, times in Counter(input_names(self.datasets)).items():
            if times > 1 and "@" not in name:
                raise _wrong(f"{times} inputs called {name!r}", "inputs with different names")
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
            raise _wrong(found, "one of them")
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


class Severity(StrEnum):
    """What a test that does not hold does."""

    ERROR = "error"
    WARN = "warn"


class AcceptedValues(Frozen):
    """The values that a column may have, as text; null passes."""

    column: str
    values: tuple[str, ...] = Field(min_length=1)


class Relationship(Frozen):
    """A column whose values all stand in a column of another table; null passes."""

    column: str
    to: Alias
    field: str


def _columns(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Columns = Annotated[tuple[str, ...], BeforeValidator(_columns)]


class ModelTest(Frozen):
    """What must hold for the rows of a model: exactly one of the five."""

    not_null: Columns = ()
    unique: Columns = ()
    """Together, where they are several; rows with a null among them do not count."""
    accepted_values: AcceptedValues | None = None
    relationships: Relationship | None = None
    expression: str | None = None
    """SQL over the model's columns, false for no row."""
    severity: Severity = Severity.ERROR

    @model_validator(mode="before")
    @classmethod
    def _expression_alone(cls, value: Any) -> Any:
        return {"expression": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if len(self._kinds) != 1:
            expected = "one of not_null, unique, accepted_values, relationships, expression"
            raise _wrong(" and ".join(self._kinds) or "a test of nothing", expected)
        return self

    @property
    def kind(self) -> str:
        """Which of the five it is."""
        return self._kinds[0]

    @property
    def _kinds(self) -> list[str]:
        return [name for name, value in self if name != "severity" and value]


class Model(Frozen):
    """One SQL model of a build."""

    sql: str = Field(min_length=1)
    tests: tuple[ModelTest, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _sql_alone(cls, value: Any) -> Any:
        return {"sql": value} if isinstance(value, str) else value


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
                raise _wrong(f"{times} commands called {name!r}", "commands with different names")
        return self


_EXTENSIONS = {ExportFormat.SHP: "zip", ExportFormat.GDB: "zip", ExportFormat.GEOPARQUET: "parquet"}


class Export(Frozen):
    """One table as one file, or as one layer of a file."""

    name: Alias
    """Of the table."""
    format: ExportFormat
    filename: FileName | None = None
    custom: Custom = {}

    @property
    def file_name(self) -> str:
        """`filename`, or `<name>.<extension>` where there is none."""
        return self.filename or f"{self.name}.{_EXTENSIONS.get(self.format, self.format.value)}"


class Exports(Frozen):
    """What a package holds."""

    output_folder: Folder | None = None
    """Folder of the exported files within the package."""
    zip_name: Name | None = None
    datasets: tuple[Export, ...] = ()

    @property
    def zip_file_name(self) -> str | None:
        return f"{self.zip_name}.zip" if self.zip_name else None

    @model_validator(mode="after")
    def _names_of_their_own(self) -> Self:
        taken = {name.lower() for name in RESERVED_FILE_NAMES}
        for at, name in enumerate(export.file_name for export in self.datasets):
            if name.lower() in taken:
                raise _wrong(f"the file name {name!r} in datasets[{at}]", "a name that packages do not use")
            if name == self.zip_file_name:
                raise _wrong(f"{name!r} as a file name and as the zip's", "two different names")
        folder = (self.output_folder or "").split("/")[0]
        if folder.lower() in taken or folder == self.zip_file_name:
            raise _wrong(f"the output_folder {folder!r}, which is a file", "another folder")
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
            raise _wrong(found, "one of version and version_strategy")
        return self

    @property
    def build(self) -> StageConfig:
        """The configuration of the build stage."""
        return self.stage_config.get(BUILD, StageConfig())


def is_floating(recipe: Recipe) -> bool:
    """Whether the recipe's lock can change while its text does not."""
    moving = isinstance(recipe.version_strategy, Strategy | BumpLatestRelease) or finds_previous(recipe)
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


class LockedDataset(Frozen):
    """All that a load depends on."""

    source: Name
    id: Name
    version: Name
    file_type: FileType
    custom: Custom = {}
    preprocessor: Preprocessor | None = None
    load_engine: Name | None = None
    made_up: bool
    """Whether its rows are made up, in a simulated build."""


class LockedInput(Frozen):
    """One input with its version resolved."""

    name: str
    """`import_as`, else the id, else `<id>@<version>`."""
    destination: Destination | None = None
    dataset: LockedDataset


class Lock(Output):
    """The recipe with every version resolved. Planning its `recipe.lock.yml` gives the same lock."""

    name: Title
    product: Name
    version: Name
    simulated: bool
    env: Environment
    build: StageConfig
    exports: Exports
    inputs: tuple[LockedInput, ...]
    seconds: Seconds
    recipe_lock: File
    source_data_versions: File

    @property
    def source_versions(self) -> dict[str, str]:
        """Version of each input, by its name, in the order of the names."""
        return {item.name: item.dataset.version for item in sorted(self.inputs, key=lambda item: item.name)}

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables that exports name, distinct and sorted; without exports, one named for the product."""
        return tuple(sorted({export.name for export in self.exports.datasets})) or (self.product,)
