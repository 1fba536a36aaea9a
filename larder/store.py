"""The bucket's verbs. Absent, damaged and unreachable are three different answers."""

import base64
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from larder import parts
from larder.checksums import Sums, as_base64, sums_of
from larder.patience import Patience
from larder.store_errors import Absent, Damaged, StoreError, Unreachable

__all__ = [
    "Absent",
    "Damaged",
    "Patience",
    "Store",
    "StoreError",
    "Stored",
    "Sums",
    "Unreachable",
    "sums_of",
]
Answer = TypeVar("Answer")
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
NOT_WORTH_RETRYING = frozenset(
    {
        "AccessDenied",
        "403",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "NoSuchBucket",
        "InvalidBucketName",
    }
)


@dataclass(frozen=True)
class Stored:
    """What the store says of one object."""

    name: str
    size: int
    etag: str
    modified: datetime


@dataclass(frozen=True)
class Store:
    """One bucket through one boto3 client. Every verb is retried for as long as patience lasts."""

    client: Any
    bucket: str
    patience: Patience = field(default_factory=lambda: Patience(60))
    fsspec: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Storage options with which s3fs reaches the same store."""

    def patient(self, seconds: float) -> "Store":
        """The same bucket with patience of its own."""
        return replace(self, patience=Patience(seconds))

    def uri(self, name: str) -> str:
        """`s3://<bucket>/<name>`"""
        return f"s3://{self.bucket}/{name}"

    def name(self, uri: str) -> str:
        """The object that a URI names.

        Raises:
            Damaged: if it names another bucket's.
        """
        prefix = self.uri("")
        if not uri.startswith(prefix):
            raise Damaged(uri, f"it is outside the bucket {self.bucket}")
        return uri.removeprefix(prefix)

    def check(self) -> None:
        """Return if the bucket is there and lets us list it; else raise Unreachable."""
        self.ask("", lambda: self.client.list_objects_v2(Bucket=self.bucket, MaxKeys=1))

    def read(self, name: str, most_bytes: int) -> tuple[bytes, str]:
        """A small object's bytes and ETag.

        Raises:
            Damaged: if it has more than `most_bytes`.
        """

        def get() -> tuple[bytes, str]:
            answer = self.client.get_object(Bucket=self.bucket, Key=name)
            with closing(answer["Body"]) as body:
                if answer["ContentLength"] > most_bytes:
                    found = f"{answer['ContentLength']} bytes, at most {most_bytes} are valid"
                    raise Damaged(self.uri(name), found, answer["ETag"])
                return body.read(), answer["ETag"]

        return self.ask(name, get)

    def stat(self, name: str) -> Stored:
        """Size, ETag and time of an object."""
        return self._head(name)[0]

    def digest_of(self, stored: Stored) -> str:
        """sha256 of an object's bytes: as the store keeps it, else by reading them."""
        _, checksum = self._head(stored.name)
        if checksum and "-" not in checksum:
            return base64.b64decode(checksum).hex()
        with Path("/dev/null").open("wb") as nowhere:
            return parts.stream(self, stored.name, stored.size, stored.etag, nowhere)

    def write(
        self, name: str, content: bytes, media_type: str, labels: Mapping[str, str] | None = None
    ) -> str:
        """Write a small object, and return its ETag. `labels` become the object's own metadata."""
        checksum = as_base64(hashlib.sha256(content).digest())
        put = self.ask(
            name,
            lambda: self.client.put_object(
                Bucket=self.bucket,
                Key=name,
                Body=content,
                ContentType=media_type,
                Metadata=dict(labels or {}),
                ChecksumSHA256=checksum,
            ),
        )
        return str(put["ETag"])

    def put_file(self, name: str, path: Path, sums: Sums, media_type: str) -> str:
        """Stream a file into the bucket, compare what the store says that it has, and return its ETag.

        Raises:
            Damaged: if what arrived is not what was sent.
        """
        if len(sums.parts) == 1:
            content = path.read_bytes()
            self.ask(
                name,
                lambda: self.client.put_object(
                    Bucket=self.bucket,
                    Key=name,
                    Body=content,
                    ContentType=media_type,
                    ChecksumSHA256=as_base64(sums.parts[0]),
                ),
            )
        else:
            parts.put_parts(self, name, path, sums, media_type)
        stored, checksum = self._head(name)
        if stored.size != sums.size:
            raise Damaged(self.uri(name), f"{stored.size} bytes arrived of {sums.size}")
        if checksum is None:
            self._read_back(name, sums, stored)
        elif checksum != sums.stored:
            raise Damaged(self.uri(name), f"checksum {checksum} arrived in place of {sums.stored}")
        return stored.etag

    def get_file(self, name: str, path: Path, sha256: str, size: int, etag: str) -> None:
        """Stream an object into a file while its digest is made.

        Raises:
            Absent, Damaged: if the object is not there, or its bytes are not those that were named.
        """
        with path.open("wb") as file:
            found = parts.stream(self, name, size, etag, file)
        if found != sha256:
            path.unlink()
            raise Damaged(self.uri(name), f"its bytes have sha256 {found[:12]}…, not {sha256[:12]}…")

    def download(self, name: str, path: Path, size: int, etag: str) -> str:
        """Stream an object whose digest nobody knows yet into a file; its sha256.

        Raises:
            Absent, Damaged: if the object is not there, or has other bytes by now.
        """
        with path.open("wb") as file:
            return parts.stream(self, name, size, etag, file)

    def copy(self, source: str, target: str, etag: str, size: int, media_type: str) -> str:
        """Copy inside the store, if the source still has this ETag, and return the copy's ETag."""
        if size > parts.WHOLE_COPY_BYTES:
            return parts.copy_parts(self, source, target, etag, size, media_type)
        answer = self.ask(
            source,
            lambda: self.client.copy_object(
                Bucket=self.bucket,
                Key=target,
                CopySource={"Bucket": self.bucket, "Key": source},
                CopySourceIfMatch=etag,
                MetadataDirective="REPLACE",
                ContentType=media_type,
            ),
        )
        return f'"{answer["CopyObjectResult"]["ETag"].strip(chr(34))}"'

    def below(self, prefix: str) -> list[Stored]:
        """Every object below a prefix, in the order of names."""
        return [
            Stored(item["Key"], item["Size"], item["ETag"], item["LastModified"])
            for page in self._pages(prefix)
            for item in page.get("Contents", ())
        ]

    def folders(self, prefix: str) -> list[str]:
        """The names directly below a prefix that have something below them."""
        return [
            item["Prefix"].removeprefix(prefix).rstrip("/")
            for page in self._pages(prefix, Delimiter="/")
            for item in page.get("CommonPrefixes", ())
        ]

    def delete(self, name: str) -> None:
        """Delete an object; that it is not there is no error."""
        self.ask(name, lambda: self.client.delete_object(Bucket=self.bucket, Key=name))

    def _pages(self, prefix: str, **options: str) -> list[dict[str, Any]]:
        pages = self.client.get_paginator("list_objects_v2")
        return self.ask(prefix, lambda: list(pages.paginate(Bucket=self.bucket, Prefix=prefix, **options)))

    def _head(self, name: str) -> tuple[Stored, str | None]:
        def head() -> tuple[Stored, str | None]:
            try:
                answer = self.client.head_object(Bucket=self.bucket, Key=name, ChecksumMode="ENABLED")
            except ClientError as error:
                if _code(error) == "404":
                    # HEAD has no body that could tell a missing object from a missing bucket; GET has.
                    self.client.get_object(Bucket=self.bucket, Key=name, Range="bytes=0-0")["Body"].close()
                raise
            stored = Stored(name, answer["ContentLength"], answer["ETag"], answer["LastModified"])
            return stored, answer.get("ChecksumSHA256")

        return self.ask(name, head)

    def _read_back(self, name: str, sums: Sums, stored: Stored) -> None:
        with Path("/dev/null").open("wb") as nowhere:
            found = parts.stream(self, name, stored.size, stored.etag, nowhere)
        if found != sums.sha256:
            raise Damaged(self.uri(name), f"sha256 {found[:12]}… arrived in place of {sums.sha256[:12]}…")

    def ask(self, name: str, call: Callable[[], Answer]) -> Answer:
        """The answer to a call about an object, asked again for as long as patience lasts.

        Raises:
            Absent, Damaged, Unreachable: the three answers that are none.
        """
        pause = FIRST_PAUSE_SECONDS
        while True:
            began = time.monotonic()
            try:
                with self._three_answers(name):
                    return call()
            except (BotoCoreError, ClientError, OSError) as error:
                final = isinstance(error, ClientError) and _code(error) in NOT_WORTH_RETRYING
                if final or not self.patience.wait(began, pause, _first_line(error)):
                    raise Unreachable(self.uri(name), self.client.meta.endpoint_url, error) from error
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    @contextmanager
    def _three_answers(self, name: str) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            match _code(error):
                case "NoSuchKey":
                    raise Absent(self.uri(name)) from error
                case "PreconditionFailed" | "412":
                    raise Damaged(self.uri(name), "its ETag changed: other bytes") from error
                case "InvalidRange" | "416":
                    raise Damaged(self.uri(name), "it is shorter than its result says") from error
                case _:
                    raise


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
