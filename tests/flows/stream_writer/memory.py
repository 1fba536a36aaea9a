"""An S3 store in memory, as boto3 shows it, whose every call may be the last of who makes it."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from types import SimpleNamespace
from typing import Any

from botocore.exceptions import ClientError

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def refused(status: int, code: str) -> ClientError:
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "call")


@dataclass
class Memory:
    """The calls that `larder.store.Store` makes. `step` is asked before and after every one that writes."""

    objects: dict[str, bytes] = field(default_factory=dict)
    step: Callable[[], None] = lambda: None
    meta: Any = field(default_factory=lambda: SimpleNamespace(endpoint_url="memory"))

    def put_object(self, Key: str, Body: bytes, IfMatch: str = "", IfNoneMatch: str = "", **_: Any) -> Any:  # noqa: N803
        self.step()
        if (IfNoneMatch and Key in self.objects) or (IfMatch and IfMatch != self.etag(Key)):
            raise refused(412, "PreconditionFailed")
        self.objects[Key] = bytes(Body)
        self.step()
        return {"ETag": self.etag(Key)}

    def copy_object(self, Key: str, CopySource: dict[str, str], **_: Any) -> Any:  # noqa: N803
        self.put_object(Key, self.objects[CopySource["Key"]])
        return {"CopyObjectResult": {"ETag": self.etag(Key)}}

    def get_object(self, Key: str, Range: str = "", **_: Any) -> Any:  # noqa: N803
        if Key not in self.objects:
            raise refused(404, "NoSuchKey")
        first, last = Range.removeprefix("bytes=").split("-") if Range else ("0", str(len(self.objects[Key])))
        content = self.objects[Key][int(first) : int(last) + 1]
        return {"Body": BytesIO(content), "ContentLength": len(content), "ETag": self.etag(Key)}

    def head_object(self, Key: str, **_: Any) -> Any:  # noqa: N803
        found = self.get_object(Key)
        checksum = hashlib.sha256(self.objects[Key]).digest()
        import base64

        return {**found, "LastModified": NOW, "ChecksumSHA256": base64.b64encode(checksum).decode()}

    def delete_object(self, Key: str, **_: Any) -> None:  # noqa: N803
        self.step()
        self.objects.pop(Key, None)
        self.step()

    def get_paginator(self, _: str) -> "Memory":
        return self

    def paginate(self, Prefix: str, **_: Any) -> Iterator[Any]:  # noqa: N803
        names = sorted(name for name in self.objects if name.startswith(Prefix))
        yield {
            "Contents": [
                {"Key": name, "Size": len(self.objects[name]), "ETag": self.etag(name), "LastModified": NOW}
                for name in names
            ]
        }

    def etag(self, name: str) -> str:
        return f'"{hashlib.md5(self.objects[name]).hexdigest()}"' if name in self.objects else ""
