"""Large objects: sent, copied and read in parts, several on their way at once."""

import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from larder.checksums import PART_BYTES, Sums, as_base64
from larder.store_errors import Damaged, StoreError

Answer = TypeVar("Answer")
WHOLE_COPY_BYTES = 5 * 10**9
"""What may be copied at once."""
THREADS = 4


class Calls(Protocol):
    """A bucket whose client is called with patience."""

    @property
    def client(self) -> Any:
        """The boto3 client."""

    @property
    def bucket(self) -> str:
        """Its name."""

    def uri(self, name: str) -> str:
        """`s3://<bucket>/<name>`"""

    def ask(self, name: str, call: Callable[[], Answer]) -> Answer:
        """The answer to a call about an object."""


def put_parts(store: Calls, name: str, path: Path, sums: Sums, media_type: str) -> None:
    """Send a file in parts, several on their way at once."""
    upload = store.ask(
        name,
        lambda: store.client.create_multipart_upload(
            Bucket=store.bucket, Key=name, ContentType=media_type, ChecksumAlgorithm="SHA256"
        ),
    )
    named = {"Bucket": store.bucket, "Key": name, "UploadId": upload["UploadId"]}

    def send(number: int) -> dict[str, Any]:
        with path.open("rb") as file:
            file.seek((number - 1) * PART_BYTES)
            content = file.read(PART_BYTES)
        checksum = as_base64(sums.parts[number - 1])
        answer = store.ask(
            name,
            lambda: store.client.upload_part(
                **named, PartNumber=number, Body=content, ChecksumSHA256=checksum
            ),
        )
        return {"PartNumber": number, "ETag": answer["ETag"], "ChecksumSHA256": checksum}

    try:
        with ThreadPoolExecutor(THREADS) as threads:
            parts = list(threads.map(send, range(1, len(sums.parts) + 1)))
        store.ask(
            name, lambda: store.client.complete_multipart_upload(**named, MultipartUpload={"Parts": parts})
        )
    except StoreError:
        _forget_upload(store, named)
        raise


def _forget_upload(store: Calls, named: Mapping[str, str]) -> None:
    try:
        store.client.abort_multipart_upload(**named)
    except (ClientError, BotoCoreError):
        return


def copy_parts(  # noqa: PLR0913, PLR0917
    store: Calls, source: str, target: str, etag: str, size: int, media_type: str
) -> str:
    """Copy a large object inside the store, in parts; the ETag of the copy."""
    upload = store.ask(
        target,
        lambda: store.client.create_multipart_upload(Bucket=store.bucket, Key=target, ContentType=media_type),
    )
    named = {"Bucket": store.bucket, "Key": target, "UploadId": upload["UploadId"]}
    step = WHOLE_COPY_BYTES // 5

    def send(number: int) -> dict[str, Any]:
        first = (number - 1) * step
        answer = store.ask(
            source,
            lambda: store.client.upload_part_copy(
                **named,
                PartNumber=number,
                CopySource={"Bucket": store.bucket, "Key": source},
                CopySourceIfMatch=etag,
                CopySourceRange=f"bytes={first}-{min(first + step, size) - 1}",
            ),
        )
        return {"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]}

    try:
        with ThreadPoolExecutor(THREADS) as threads:
            parts = list(threads.map(send, range(1, -(-size // step) + 1)))
        done = store.ask(
            target,
            lambda: store.client.complete_multipart_upload(**named, MultipartUpload={"Parts": parts}),
        )
    except StoreError:
        _forget_upload(store, named)
        raise
    return str(done["ETag"])


def stream(store: Calls, name: str, size: int, etag: str, file: BinaryIO) -> str:
    """Write `size` bytes in order into `file`, several ranges on their way at once; their sha256."""
    digest = hashlib.sha256()

    def fetch(first: int) -> bytes:
        last = min(first + PART_BYTES, size) - 1
        return store.ask(name, lambda: _range(store, name, first, last, etag))

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


def _range(store: Calls, name: str, first: int, last: int, etag: str) -> bytes:
    answer = store.client.get_object(
        Bucket=store.bucket, Key=name, Range=f"bytes={first}-{last}", IfMatch=etag
    )
    with closing(answer["Body"]) as body:
        content: bytes = body.read()
    if len(content) != last - first + 1:
        raise Damaged(store.uri(name), f"it ends before byte {last}")
    return content
