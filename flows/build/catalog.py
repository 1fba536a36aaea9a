"""The catalog that inputs come from: `<id>/<version>/<id>.<extension>` below a URL."""

import re
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
from fsspec.implementations.local import LocalFileSystem

from flows.build.input_files import EXTENSIONS, PREFERRED, file_names
from flows.build.planning.versions import is_alias, order
from flows.build.unpacking import GZIP, Limits, NotTakenError, require_known_encoding, unpack
from flows.tables.file_types import FileType
from larder.names import is_plain_name
from larder.refusal import OutsideUnreachable

Found = TypeVar("Found")

AS_IT_COMES: Mapping[str, Any] = {
    "block_size": 0,
    "auto_decompress": False,
    "headers": {"Accept-Encoding": "identity"},
}
"""How a file is asked of a web server: from beginning to end, and not unpacked by what its answer says."""
PATTERN = frozenset("*?[")
"""What DuckDB takes for a pattern of file names."""

_CONNECT_SECONDS = 8
_READ_SECONDS = 15
_UNREACHABLE = (OSError, ValueError, ImportError, aiohttp.ClientError, BotoCoreError, ClientError)


class CatalogUnreachable(OutsideUnreachable):
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

    url: str = field(repr=False)
    """A folder's path, `s3://…` or `https://…`."""
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """fsspec's storage options: endpoint and credentials. Where they are given, nothing else counts."""
    limit_seconds: float = 20
    """How long one question may take."""
    limit_bytes: int = 100 * 2**30
    """How large one input may be, unpacked."""
    fetch_seconds: float = 3600
    """How long one input may take to come."""

    @classmethod
    def at(
        cls,
        url: str,
        s3_options: Mapping[str, Any],
        limit_bytes: int = limit_bytes,
        fetch_seconds: float = fetch_seconds,
    ) -> "Catalog":
        """The catalog at a URL; `s3_options` are for one on S3."""
        options = s3_options if url.startswith("s3://") else {}
        return cls(url, options, limit_bytes=limit_bytes, fetch_seconds=fetch_seconds)

    @property
    def place(self) -> str:
        """The URL as it may be shown: without a login that stands in it."""
        return re.sub(r"//[^/@]*@", "//", self.url)

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
        return f"a dataset of the catalog {self.place}" + (f", such as {', '.join(close)}" if close else "")

    def versions(self, dataset: str) -> list[str]:
        """The versions of a dataset, oldest first; none where it is not there or cannot be listed.

        Names that only point at a version, as `latest` does, are left out.

        Raises:
            CatalogUnreachable: where it did not answer.
        """
        return sorted((name for name in self._names_of_versions(dataset) if not is_alias(name)), key=order)

    def aliases(self, dataset: str) -> list[str]:
        """What stands among the versions of a dataset and only points at one of them.

        Raises:
            CatalogUnreachable: where it did not answer.
        """
        return [name for name in self._names_of_versions(dataset) if is_alias(name)]

    def file_types(self, dataset: str, version: str) -> list[FileType]:
        """The file types of one version; none where it is not there or cannot be listed.

        Raises:
            CatalogUnreachable: where it did not answer.
        """
        names = {name for name, _ in self._names(f"{self._root}/{dataset}/{version}")}
        return [kind for kind in EXTENSIONS if names & {name for name, _ in file_names(dataset, kind)}]

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
        return self._found(dataset, version, file_type) is not None

    def fetch(self, dataset: str, version: str, file_type: FileType, to: Path) -> None:
        """Copy one file to the path `to`, in pieces, unpacked where it is packed (`.gz`, `.zip`).

        What gzip packed is known by its bytes: a web server may unpack a `.gz` on its way, and pack others.

        Raises:
            InputError: where the catalog does not have it, it is larger than `limit_bytes`, or it takes
                longer than `fetch_seconds`.
            CatalogUnreachable: where it did not answer.
        """
        found = self._found(dataset, version, file_type)
        if found is None:
            raise InputError(dataset, version, f"the catalog {self.place} has no {file_type} file of it.")
        path, packing = found
        reading = AS_IT_COMES if self._on_the_web else {"block_size": 2**24}
        try:
            with self._files.open(path, "rb", **reading) as source:
                require_known_encoding(source)
                unpack(source, packing, to, Limits(self.limit_bytes, self.fetch_seconds))
        except _UNREACHABLE as error:
            raise self._unreachable(error) from error
        except NotTakenError as error:
            raise InputError(dataset, version, str(error)) from error

    def in_place(self, dataset: str, version: str, file_type: FileType) -> Path | None:
        """Where one file lies on this machine as it is; None where it has to be fetched.

        Raises:
            CatalogUnreachable: where it did not answer.
        """
        if not isinstance(self._files, LocalFileSystem) or PATTERN & set(self._root):
            return None
        path, packing = self._found(dataset, version, file_type) or ("", None)
        if packing != "" or Path(path).stat().st_size > self.limit_bytes:
            return None
        with Path(path).open("rb") as source:
            return None if source.read(len(GZIP)) == GZIP else Path(path)

    def _found(self, dataset: str, version: str, file_type: FileType) -> tuple[str, str] | None:
        """The path of a file, and how it is packed."""
        for name, packing in file_names(dataset, file_type):
            path = f"{self._root}/{dataset}/{version}/{name}"
            if self._ask(lambda path=path: self._is_there(path)):  # type: ignore[misc]
                return path, packing
        return None

    def _is_there(self, path: str) -> bool:
        unpacked = {"auto_decompress": False} if self._on_the_web else {}
        try:
            return bool(self._files.info(path, **unpacked)["type"] == "file")
        except FileNotFoundError as error:
            # fsspec reports every failure of a web server as a file that is not there.
            cause = error.__cause__
            if isinstance(cause, aiohttp.ClientError) and getattr(cause, "status", None) != 404:
                raise cause from None
            if isinstance(cause, TimeoutError):
                raise cause from None
            return False

    def _unreachable(self, error: BaseException) -> CatalogUnreachable:
        return CatalogUnreachable(self.place, _text(error).replace(self.url, self.place))

    @property
    def _on_the_web(self) -> bool:
        return self.url.startswith(("http://", "https://"))

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        limits, options = dict[str, Any](), dict(self.options)
        if self._on_the_web:
            timeout = aiohttp.ClientTimeout(None, _CONNECT_SECONDS, _READ_SECONDS, _CONNECT_SECONDS)
            limits = {"client_kwargs": {"timeout": timeout, "trust_env": True}}
        elif self.url.startswith("s3://"):
            times = {"connect_timeout": _CONNECT_SECONDS, "read_timeout": _READ_SECONDS}
            limits = {"config_kwargs": {**times, "retries": {"max_attempts": 2}}}
            if options:
                from larder.s3 import own_fsspec_session

                limits["config_kwargs"]["proxies"] = {}
                options["session"] = own_fsspec_session()
        fresh = {"skip_instance_cache": True, "use_listings_cache": False}
        try:
            files, root = url_to_fs(self.url, **limits, **fresh, **options)
        except _UNREACHABLE as error:
            raise self._unreachable(error) from error
        return files, root.rstrip("/")

    @property
    def _files(self) -> Any:
        return self._opened[0]

    @property
    def _root(self) -> str:
        return self._opened[1]

    def _names_of_versions(self, dataset: str) -> list[str]:
        found = self._folders(f"{self._root}/{dataset}")
        if not found:
            self.datasets()
        return found

    def _folders(self, folder: str, *, must_exist: bool = False) -> list[str]:
        listed = self._names(folder, must_exist=must_exist)
        folders = [name for name, kind in listed if kind == "directory"]
        return folders if folders or not self._on_the_web else [name for name, _ in listed]

    def _names(self, folder: str, *, must_exist: bool = False) -> list[tuple[str, str]]:
        try:
            listed = self._ask(lambda: self._files.ls(f"{folder}/", detail=True))
        except FileNotFoundError as error:
            if must_exist:
                raise CatalogUnreachable(self.place, "there is nothing at this place") from error
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
            raise CatalogUnreachable(self.place, cause) from error
        except _UNREACHABLE as error:
            raise self._unreachable(error) from error
        finally:
            asking.shutdown(wait=False)


def _text(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0].rstrip(".") or type(error).__name__
