"""Package: the tables of a build as the files of a product."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from flows.tables.data_dictionary import dictionary
from flows.tables.export import Exports
from flows.tables.exports import (
    FILES_AT_ONCE,
    Package,
    export_names,
    with_checksums,
    write_export,
    zipped,
)
from flows.tables.table import Table


def package(  # noqa: PLR0913, PLR0917
    name: str,
    product: str,
    version: str,
    exports: Exports,
    sources: Mapping[str, str],
    tables: Mapping[str, Table],
    scratch: Path,
) -> Package:
    """Write every export, the data dictionary, the zip of the exports where one is named, and `SHA256SUMS`.

    Without exports every table becomes a CSV file.

    Args:
        sources: version of each input, by the input's name.
        tables: with local files.
    """
    used = {export.name: tables[export.name] for export in exports.datasets} or tables
    title = f"{name} ({product} {version})"
    with ThreadPoolExecutor(FILES_AT_ONCE) as threads:
        writing = [
            threads.submit(write_export, file, export, tables[export.name], scratch)
            for file, layers in export_names(exports, tables).items()
            for export in layers
        ]
        described = dictionary(title, sources, used, scratch)
        exported = [file.result() for file in writing]
    archive = [zipped(exports.zip_file_name, exported, scratch)] if exports.zip_file_name else []
    return with_checksums([*exported, *described, *archive], scratch)
