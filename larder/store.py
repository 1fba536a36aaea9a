"""The bucket's verbs. Absent, damaged and unreachable are three different answers."""

import base64
import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

Answer = TypeVar("Answer")
log = logging.getLogger(__name__)

PART_BYTES = 16 * 2**20
WHOLE_COPY_BYTES = 5 * 10**9
THREADS = 4
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
SAID_PAUSE_SECONDS = 1.0
SAY_EVERY_SECONDS = 30.0
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


class StoreError(Exception):
    """Something about one object, or the bucket itself.

    Attributes:
        uri: the object, `s3://<bucket>/<name>`
    """

    def __init__(self, uri: str, message: str) -> None:
        super().__init__(message)
        self.uri = uri


class Absent(StoreError):  # noqa: N818
    """The bucket answered, and this object is not in it."""

    def __init__(self, uri: str) -> None:
        super().__init__(uri, f"{uri} is not there.")

    def __reduce__(self) -> tuple[type["Absent"], tuple[str]]:
        return Absent, (self.uri,)


class Damaged(StoreError):  # noqa: N818
    """The object is there and is not what it should be.

    Attributes:
        found: what is wrong with it, in a few words
        etag: of what was read, where it was read
    """

    def __init__(self, uri: str, found: str, etag: str | None = None) -> None:
        super().__init__(uri, f"{uri} is damaged: {found}.")
        self.found = found
        self.etag = etag

    def __reduce__(self) -> tuple[type["Damaged"], tuple[str, str, str | None]]:
        return Damaged, (self.uri, self.found, self.etag)


class Unreachable(StoreError):  # noqa: N818
    """The store gave no clear answer. What is in it may be whole: try again, or look at the store."""

    def __init__(self, uri: str, endpoint: str, cause: Exception) -> None:
        said = " ".join(str(cause).split()).rstrip(".")
        super().__init__(
            uri,
            f"The object store at {endpoint} refused or did not answer for {uri}: {said}. "
            "Nothing that was finished is lost. Look whether the store runs and lets us in, then run again.",
        )
        self.endpoint = endpoint
        self.cause = cause

    def __reduce__(self) -> tuple[type["Unreachable"], tuple[str, str, Exception]]:
        return Unreachable, (self.uri, self.endpoint, OSError(" ".join(str(self.cause).split())))


@dataclass
class Patience:
    """How long the store may go on failing, in seconds of the clock, over all calls and threads together."""

    seconds: float
    counted_until: float = 0.0
    said_at: float = 0.0
    guard: threading.Lock = field(default_factory=threading.Lock)

    def wait(self, failing_since: float, pause_seconds: float, about: str) -> bool:
        """Sleep before the next attempt; False where no time is left for one.

        Args:
            failing_since: when the attempt began that failed, on the monotonic clock
            about: what is waited for, for the log
        """
        with self.guard:
            now = time.monotonic()
            self.seconds -= max(0.0, now - max(failing_since, self.counted_until))
            self.counted_until = max(now, self.counted_until)
            if self.seconds <= 0:
                return False
            pause = min(pause_seconds, self.seconds)
            if now - self.said_at > SAY_EVERY_SECONDS and pause >= SAID_PAUSE_SECONDS:
                self.said_at = now
                log.warning("Waiting for the object store: %s. It is given %.0f s more.", about, self.seconds)
        time.sleep(pause)
        return True


@dataclass(frozen=True)
class Stored:
    """What the store says of one object."""

    name: str
    size: int
    etag: str
    modified: datetime


@dataclass(frozen=True)
class Sums:
    """Checksums of a local file: its sha256, and sha256 of each part as it will be sent."""

    sha256: str
    size: int
    parts: tuple[bytes, ...]

    @property
    def stored(self) -> str:
        """What the store calls the checksum of the whole object."""
        if len(self.parts) == 1:
            return _text(self.parts[0])
        return f"{_text(hashlib.sha256(b''.join(self.parts)).digest())}-{len(self.parts)}"


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
        self._ask("", lambda: self.client.list_objects_v2(Bucket=self.bucket, MaxKeys=1))

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

        return self._ask(name, get)

    def stat(self, name: str) -> Stored:
        """Size, ETag and time of an object."""
        return self._head(name)[0]

    def digest_of(self, stored: Stored) -> str:
        """sha256 of an object's bytes: as the store keeps it, else by reading them."""
        _, checksum = self._head(stored.name)
        if checksum and "-" not in checksum:
            return base64.b64decode(checksum).hex()
        with Path("/dev/null").open("wb") as nowhere:
            return self._stream(stored.name, stored.size, stored.etag, nowhere)

    def write(
        self, name: str, content: bytes, media_type: str, labels: Mapping[str, str] | None = None
    ) -> str:
        """Write a small object, and return its ETag. `labels` become the object's own metadata."""
        checksum = _text(hashlib.sha256(content).digest())
        put = self._ask(
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
            self._ask(
                name,
                lambda: self.client.put_object(
                    Bucket=self.bucket,
                    Key=name,
                    Body=content,
                    ContentType=media_type,
                    ChecksumSHA256=_text(sums.parts[0]),
                ),
            )
        else:
            self._put_parts(name, path, sums, media_type)
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
            found = self._stream(name, size, etag, file)
        if found != sha256:
            path.unlink()
            raise Damaged(self.uri(name), f"its bytes have sha256 {found[:12]}…, not {sha256[:12]}…")

    def download(self, name: str, path: Path, size: int, etag: str) -> str:
        """Stream an object whose digest nobody knows yet into a file; its sha256.

        Raises:
            Absent, Damaged: if the object is not there, or has other bytes by now.
        """
        with path.open("wb") as file:
            return self._stream(name, size, etag, file)

    def copy(self, source: str, target: str, etag: str, size: int, media_type: str) -> str:
        """Copy inside the store, if the source still has this ETag, and return the copy's ETag."""
        if size > WHOLE_COPY_BYTES:
            return self._copy_parts(source, target, etag, size, media_type)
        answer = self._ask(
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
        self._ask(name, lambda: self.client.delete_object(Bucket=self.bucket, Key=name))

    def _pages(self, prefix: str, **options: str) -> list[dict[str, Any]]:
        pages = self.client.get_paginator("list_objects_v2")
        return self._ask(prefix, lambda: list(pages.paginate(Bucket=self.bucket, Prefix=prefix, **options)))

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

        return self._ask(name, head)

    def _put_parts(self, name: str, path: Path, sums: Sums, media_type: str) -> None:
        upload = self._ask(
            name,
            lambda: self.client.create_multipart_upload(
                Bucket=self.bucket, Key=name, ContentType=media_type, ChecksumAlgorithm="SHA256"
            ),
        )
        named = {"Bucket": self.bucket, "Key": name, "UploadId": upload["UploadId"]}

        def send(number: int) -> dict[str, Any]:
            with path.open("rb") as file:
                file.seek((number - 1) * PART_BYTES)
                content = file.read(PART_BYTES)
            checksum = _text(sums.parts[number - 1])
            answer = self._ask(
                name,
                lambda: self.client.upload_part(
                    **named, PartNumber=number, Body=content, ChecksumSHA256=checksum
                ),
            )
            return {"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": checksum}

        try:
            with ThreadPoolExecutor(THREADS) as threads:
                parts = list(threads.map(send, range(1, len(sums.parts) + 1)))
            self._ask(
                name, lambda: self.client.complete_multipart_upload(**named, MultipartUpload={"Parts": parts})
            )
        except StoreError:
            self._forget_upload(named)
            raise

    def _forget_upload(self, named: Mapping[str, str]) -> None:
        try:
            self.client.abort_multipart_upload(**named)
        except (ClientError, BotoCoreError):
            return

    def _copy_parts(self, source: str, target: str, etag: str, size: int, media_type: str) -> str:
        upload = self._ask(
            target,
            lambda: self.client.create_multipart_upload(
                Bucket=self.bucket, Key=target, ContentType=media_type
            ),
        )
        named = {"Bucket": self.bucket, "Key": target, "UploadId": upload["UploadId"]}
        step = WHOLE_COPY_BYTES // 5

        def send(number: int) -> dict[str, Any]:
            first = (number - 1) * step
            answer = self._ask(
                source,
                lambda: self.client.upload_part_copy(
                    **named,
                    PartNumber=number,
                    CopySource={"Bucket": self.bucket, "Key": source},
                    CopySourceIfMatch=etag,
                    CopySourceRange=f"bytes={first}-{min(first + step, size) - 1}",
                ),
            )
            return {"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]}

        try:
            with ThreadPoolExecutor(THREADS) as threads:
                parts = list(threads.map(send, range(1, -(-size // step) + 1)))
            done = self._ask(
                target,
                lambda: self.client.complete_multipart_upload(**named, MultipartUpload={"Parts": parts}),
            )
        except StoreError:
            self._forget_upload(named)
            raise
        return str(done["ETag"])

    def _read_back(self, name: str, sums: Sums, stored: Stored) -> None:
        with Path("/dev/null").open("wb") as nowhere:
            found = self._stream(name, stored.size, stored.etag, nowhere)
        if found != sums.sha256:
            raise Damaged(self.uri(name), f"sha256 {found[:12]}… arrived in place of {sums.sha256[:12]}…")

    def _stream(self, name: str, size: int, etag: str, file: BinaryIO) -> str:
        """Write `size` bytes in order into `file`, several ranges on their way at once; their sha256."""
        digest = hashlib.sha256()

        def fetch(first: int) -> bytes:
            last = min(first + PART_BYTES, size) - 1
            return self._ask(name, lambda: self._range(name, first, last, etag))

        with ThreadPoolExecutor(THREADS) as threads:
            coming: list[Future[bytes]] = []
            starts = iter(range(0, size, PART_BYTES))
            for start in starts:
                coming.append(threads.submit(fetch, start))
                if len(coming) == THREADS:
                    break
            while coming:
                content = coming.pop(0).result()
                if (start_next := next(starts, None)) is not None:
                    coming.append(threads.submit(fetch, start_next))
                digest.update(content)
                file.write(content)
        return digest.hexdigest()

    def _range(self, name: str, first: int, last: int, etag: str) -> bytes:
        answer = self.client.get_object(
            Bucket=self.bucket, Key=name, Range=f"bytes={first}-{last}", IfMatch=etag
        )
        with closing(answer["Body"]) as body:
            content: bytes = body.read()
        if len(content) != last - first + 1:
            raise Damaged(self.uri(name), f"it ends before byte {last}")
        return content

    def _ask(self, name: str, call: Callable[[], Answer]) -> Answer:
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


def sums_of(path: Path) -> Sums:
    """Checksums of a file, read once; its parts' are made beside the whole's."""
    whole = hashlib.sha256()
    parts: list[Future[bytes]] = []
    size = 0
    with path.open("rb") as file, ThreadPoolExecutor(1) as beside:
        while (content := file.read(PART_BYTES)) or not parts:
            parts.append(beside.submit(_sha256, content))
            whole.update(content)
            size += len(content)
            if len(parts) > 1:
                parts[-2].result()
    return Sums(whole.hexdigest(), size, tuple(part.result() for part in parts))


def _sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def _text(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
