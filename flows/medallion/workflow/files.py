"""Which files are read, and how."""

from pathlib import PurePosixPath
from typing import Self

from pydantic import model_validator

from flows.tables.file_types import FileType
from flows.tables.formats import OPTIONS
from larder.artifacts import Frozen
from larder.names import Custom, wrong

ENDINGS = {
    ".csv": FileType.CSV,
    ".tsv": FileType.CSV,
    ".txt": FileType.CSV,
    ".json": FileType.JSON,
    ".jsonl": FileType.JSON,
    ".ndjson": FileType.JSON,
    ".parquet": FileType.PARQUET,
    ".xlsx": FileType.XLSX,
    ".xlsm": FileType.XLSX,
    ".xls": FileType.XLSX,
}
"""What a file is, by the end of its name."""
READ = (FileType.CSV, FileType.JSON, FileType.PARQUET, FileType.XLSX)


class FileOptions(Frozen):
    """How the files of a job are read."""

    type: FileType | None = None
    """What they are; else the end of a file's name says it."""
    options: Custom = {}
    """As a recipe's `custom`: `delimiter`, `encoding`, `quote`, `sheet`, `records`, …"""
    may_have_no_rows: bool = False
    """Whether a file with nothing but a header is taken for what it is, and not for a mistake."""

    @model_validator(mode="after")
    def _options_of_the_type(self) -> Self:
        if self.type is not None and self.type not in READ:
            raise wrong(self.type, f"type, one of {', '.join(READ)}")
        known = {
            name: option
            for kind in ((self.type,) if self.type else READ)
            for name, option in OPTIONS.get(kind, {}).items()
        }
        for name, value in self.options.items():
            if name not in known:
                raise wrong(
                    f"the option {name}", f"options, of {', '.join(sorted(known)) or 'which there are none'}"
                )
            if not known[name].allows(value):
                raise wrong(f"{name}: {value}", f"{name}: {known[name].valid}")
        return self


def file_type(name: str, options: FileOptions) -> FileType:
    """What a file is.

    Raises:
        ValueError: if neither its name nor the configuration says it.
    """
    found = options.type or ENDINGS.get(PurePosixPath(name).suffix.lower())
    if found is None:
        valid = f"a name that ends in {', '.join(ENDINGS)}, or `file: {{type: …}}` in the job's configuration"
        raise ValueError(f"its name does not say what it is; expected is {valid}")
    return found
