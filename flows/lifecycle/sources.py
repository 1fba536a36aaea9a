"""The catalog that inputs come from: `<id>/<version>/<id>.<extension>` below a URL."""

import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

import aiohttp
from botocore.exceptions import BotoCoreError, ClientError
from fsspec.core import url_to_fs

from flows.lifecycle.versions import order
from flows.recipe import FileType, is_plain_name

Found = TypeVar("Found")

EXTENSIONS = {
    FileType.PARQUET: "parquet",
    FileType.CSV: "csv",
    FileType.JSON: "json",
    FileType.GEOJSON: "geojson",
    FileType.XLSX: "xlsx",
    FileType.SHAPEFILE: "shp.zip",
    FileType.GDB: "gdb.zip",
    FileType.PG_DUMP: "sql",
    FileType.OTHER: "zip",
}
PREFERRED = (
    FileType.PARQUET,
    FileType.CSV,
    FileType.JSON,
    FileType.GEOJSON,
    FileType.XLSX,
    FileType.SHAPEFILE,
)
"""Where a recipe gives no file type, the first of these that the catalog has."""
READABLE = (FileType.CSV, FileType.PARQUET)
"""The file types that a real build can read."""

_CONNECT_SECONDS = 8
_READ_SECONDS = 15
_UNREACHABLE = (OSError, ValueError, ImportError, aiohttp.ClientError, BotoCoreError, ClientError)


class CatalogUnreachable(Exception):  # noqa: N818
    """The catalog did not answer. Trying again can help."""

    def __init__(self, url: str, cause: str) -> None:
        super().__init__(url, cause)
        self.url = url
        self.cause = cause

    def __str__(self) -> str:
        return f"The catalog {self.url} cannot be reached: {self.cause}. Check the URL, or try again."


class InputError(Exception):
    """An input that the catalog promised is not there or cannot be read. Trying again does not help."""

    def __init__(self, dataset: str, version: str, cause: str) -> None:
        super().__init__(dataset, version, cause)
        self.dataset = dataset
        self.version = version
        self.cause = cause

    def __str__(self) -> str:
        return f"Input {self.dataset} {self.version} cannot be loaded: {self.cause}"


@dataclass(frozen=True)
class Catalog:
    """A folder of datasets, on disk, on S3 or on the web. Asks for nothing before it is asked."""

    url: str
    """A folder's path, `s3://…` or `https://…`."""
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """fsspec's storage options: endpoint and credentials."""
    limit_seconds: float = 20
    """How long one question may take."""

    @classmethod
    def at(cls, url: str, s3_options: Mapping[str, Any]) -> "Catalog":
        """The catalog at a URL; `s3_options` are for one on S3."""
        return cls(url, s3_options if url.startswith("s3://") else {})

    def datasets(self) -> list[str]:
        """The ids of all datasets.

        Raises:
            CatalogUnreachable: where it did not answer.
        """
        return sorted(self._folders(self._root, must_exist=not self._on_the_web))

    def like(self, dataset: str) -> str:
        """What to write in place of an id that is not there: `a dataset of the catalog …, such as …`.

        Raises:
            CatalogUnreachable: where it did not answer.
        """
        datasets = self.datasets()
        close = get_close_matches(dataset, datasets, n=10, cutoff=0.4) or datasets[:10]
        return f"a dataset of the catalog {self.url}" + (f", such as {', '.join(close)}" if close else "")

    def versions(self, dataset: str) -> list[str]:
        """The versions of a dataset, oldest first; none where it is not there or cannot be listed.

        Raises:
            CatalogUnreachable: where it did not answer.
        """
        found = self._folders(f"{self._root}/{dataset}")
        if not found:
            self.datasets()
        return sorted(found, key=order)

    def file_types(self, dataset: str, version: str) -> list[FileType]:
        """The file types of one version; none where it is not there or cannot be listed.

        Raises:
            CatalogUnreachable: where it did not answer.
        """
        names = {name for name, _ in self._names(f"{self._root}/{dataset}/{version}")}
        return [kind for kind, extension in EXTENSIONS.items() if f"{dataset}.{extension}" in names]

    def preferred(self, dataset: str, version: str) -> FileType | None:
        """The file type to take of one version where the recipe gives none; None where there is no such.

        Raises:
            CatalogUnreachable: where it did not answer.
        """
        known = self.file_types(dataset, version)
        return next((kind for kind in PREFERRED if kind in known), None)

    def has(self, dataset: str, version: str, file_type: FileType) -> bool:
        """Whether the catalog has this file; asks for nothing but that file.

        Raises:
            CatalogUnreachable: where it did not answer.
        """
        path = self._path(dataset, version, file_type)
        return self._ask(lambda: _is_there(self._files, path))

    def fetch(self, dataset: str, version: str, file_type: FileType, to: Path) -> None:
        """Copy one file to the path `to`, in pieces.

        Raises:
            InputError: where the catalog does not have it.
            CatalogUnreachable: where it did not answer.
        """
        path = self._path(dataset, version, file_type)
        if not self.has(dataset, version, file_type):
            raise InputError(dataset, version, f"the catalog {self.url} has no {file_type} file of it.")
        block_size = 0 if self._on_the_web else 2**24
        try:
            with self._files.open(path, "rb", block_size=block_size) as source, to.open("wb") as target:
                shutil.copyfileobj(source, target, 2**20)
        except _UNREACHABLE as error:
            raise CatalogUnreachable(self.url, _text(error)) from error

    @property
    def _on_the_web(self) -> bool:
        return self.url.startswith(("http://", "https://"))

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        limits: dict[str, Any] = {}
        if self._on_the_web:
            timeout = aiohttp.ClientTimeout(None, _CONNECT_SECONDS, _READ_SECONDS, _CONNECT_SECONDS)
            limits = {"client_kwargs": {"timeout": timeout, "trust_env": True}}
        elif self.url.startswith("s3://"):
            times = {"connect_timeout": _CONNECT_SECONDS, "read_timeout": _READ_SECONDS}
            limits = {"config_kwargs": {**times, "retries": {"max_attempts": 2}}}
        fresh = {"skip_instance_cache": True, "use_listings_cache": False}
        try:
            files, root = url_to_fs(self.url, **limits, **fresh, **self.options)
        except _UNREACHABLE as error:
            raise CatalogUnreachable(self.url, _text(error)) from error
        return files, root.rstrip("/")

    @property
    def _files(self) -> Any:
        return self._opened[0]

    @property
    def _root(self) -> str:
        return self._opened[1]

    def _path(self, dataset: str, version: str, file_type: FileType) -> str:
        return f"{self._root}/{dataset}/{version}/{dataset}.{EXTENSIONS[file_type]}"

    def _folders(self, folder: str, *, must_exist: bool = False) -> list[str]:
        listed = self._names(folder, must_exist=must_exist)
        return [name for name, kind in listed if kind == "directory" or self._on_the_web]

    def _names(self, folder: str, *, must_exist: bool = False) -> list[tuple[str, str]]:
        try:
            listed = self._ask(lambda: self._files.ls(f"{folder}/", detail=True))
        except FileNotFoundError as error:
            if must_exist:
                raise CatalogUnreachable(self.url, "there is nothing at this place") from error
            return []
        found = set()
        for entry in listed:
            name, _, rest = entry["name"].removeprefix(folder).strip("/").removeprefix("./").partition("/")
            name = unquote(name) if self._on_the_web else name
            if entry["name"].startswith(f"{folder}/") and not rest and is_plain_name(name):
                found.add((name, entry["type"]))
        return sorted(found)

    def _ask(self, question: Callable[[], Found]) -> Found:
        self._opened  # noqa: B018
        asking = ThreadPoolExecutor(1)
        try:
            return asking.submit(question).result(timeout=self.limit_seconds)
        except FileNotFoundError:
            raise
        except TimeoutError as error:
            cause = f"no answer within {self.limit_seconds:g} seconds"
            raise CatalogUnreachable(self.url, cause) from error
        except _UNREACHABLE as error:
            raise CatalogUnreachable(self.url, _text(error)) from error
        finally:
            asking.shutdown(wait=False)


def _is_there(files: Any, path: str) -> bool:
    try:
        return bool(files.info(path)["type"] == "file")
    except FileNotFoundError as error:
        # fsspec reports every failure of a web server as a file that is not there.
        cause = error.__cause__
        if isinstance(cause, aiohttp.ClientError) and getattr(cause, "status", None) != 404:
            raise cause from None
        if isinstance(cause, TimeoutError):
            raise cause from None
        return False


def _text(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0].rstrip(".") or type(error).__name__
