"""Which tables become which files of a package."""

from typing import Self

from pydantic import model_validator

from flows.tables.file_types import ExportFormat
from larder.artifacts import Frozen
from larder.names import Alias, Custom, FileName, Folder, Name, wrong

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
                raise wrong(f"the file name {name!r} in datasets[{at}]", "a name that packages do not use")
            if name == self.zip_file_name:
                raise wrong(f"{name!r} as a file name and as the zip's", "two different names")
        folder = (self.output_folder or "").split("/")[0]
        if folder.lower() in taken or folder == self.zip_file_name:
            raise wrong(f"the output_folder {folder!r}, which is a file", "another folder")
        return self
