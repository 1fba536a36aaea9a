"""The lock: a recipe with every version resolved."""

from flows.build.recipe.schema import Destination, Preprocessor, Seconds, StageConfig
from flows.tables.export import Exports
from flows.tables.file_types import FileType
from larder.artifacts import File, Frozen, Output, Warnings
from larder.names import Custom, Environment, Name, Title


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
    warnings: Warnings = None
    """Where it was not clear which version of an input is the newest."""

    @property
    def warned(self) -> tuple[str, ...]:
        """Its warnings."""
        return self.warnings or ()

    @property
    def source_versions(self) -> dict[str, str]:
        """Version of each input, by its name, in the order of the names."""
        return {item.name: item.dataset.version for item in sorted(self.inputs, key=lambda item: item.name)}

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables that exports name, distinct and sorted; without exports, one named for the product."""
        return tuple(sorted({export.name for export in self.exports.datasets})) or (self.product,)
