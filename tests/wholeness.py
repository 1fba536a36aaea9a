"""Whether a bucket holds all that it says, seen with no code of ours."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from tests.recipes import Bucket


def state(bucket: Bucket) -> dict[str, tuple[str, str]]:
    """ETag and time of every object, by its name."""
    pages = bucket.client.get_paginator("list_objects_v2").paginate(Bucket=bucket.name)
    return {
        item["Key"]: (item["ETag"], str(item["LastModified"]))
        for page in pages
        for item in page.get("Contents", ())
    }


def finished(bucket: Bucket) -> set[str]:
    """The stages that have a whole result, each of them named once in this bucket: `plan`, `load trees`."""
    found = set()
    for name in bucket.names("results/"):
        _, folder, *_, file = name.split("/")
        if is_whole(bucket, name):
            found.add(f"load {name.split('/')[2]}" if folder == "_inputs" else file.rpartition("-")[0])
    return found


def is_whole(bucket: Bucket, name: str) -> bool:
    """Whether a result can be read, and every artifact in it has the bytes that it says."""
    try:
        returned = json.loads(bucket.read(name))["returned"]
    except (ValueError, KeyError):
        return False
    return all(_is_there(bucket, artifact) for artifact in artifacts_in(returned))


def artifacts_in(value: Any) -> Iterator[dict[str, Any]]:
    """Every artifact in what a stage returned."""
    match value:
        case {"object_name": _, "sha256": _}:
            yield value
        case dict():
            for item in value.values():
                yield from artifacts_in(item)
        case list():
            for item in value:
                yield from artifacts_in(item)


def assert_whole(bucket: Bucket, product: str, version: str) -> None:
    """A package, and the results that it was made from, are there to the last byte."""
    prefix = f"packages/{product}/{version}/"
    document = bucket.document(prefix + "package.json")
    files = {file["name"]: file for file in document["files"]}
    there = {name.removeprefix(prefix) for name in bucket.names(prefix)}
    assert there == files.keys() | {"package.json"}
    for name, file in files.items():
        content = bucket.read(prefix + name)
        assert (len(content), _sha256(content)) == (file["bytes"], file["sha256"]), name
        if file["artifact"]:
            assert bucket.read(bucket.inside(file["artifact"])) == content
    for line in bucket.read(prefix + "SHA256SUMS").decode().splitlines():
        sha256, _, name = line.partition("  ")
        assert files[name]["sha256"] == sha256
    for origin in ("plan", "package"):
        assert is_whole(bucket, document[origin]["result"])
        assert bucket.document(document[origin]["result"])["digest"] == document[origin]["digest"]


def _is_there(bucket: Bucket, artifact: dict[str, Any]) -> bool:
    try:
        content = bucket.read(artifact["object_name"])
    except ClientError:
        return False
    return (len(content), _sha256(content)) == (artifact["bytes"], artifact["sha256"])


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
