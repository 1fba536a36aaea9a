"""The manifest of an archived file: where it came from, what it is, and when it was seen."""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from flows.ingest.schema import Request, SecretValue
from flows.ingest.stages.files import Received
from larder.artifacts import Artifact, Frozen
from larder.keys import digest

MANIFEST = "manifest.json"
RESERVED = frozenset({MANIFEST, "published.json", "links.json"})
"""Names in the folder of an archived file that are not its own."""


class Origin(Frozen):
    """Whose file it is, what was asked for, and where it was linked to."""

    department: str
    category: str
    request: Request
    page_url: str | None = None
    """The page that links to it."""
    link_title: str | None = None
    """What the link says."""

    @property
    def label(self) -> str:
        """What its stages are called in a run."""
        return f"{self.category}/{self.request.name}"

    @property
    def folder(self) -> str:
        """Where the files of its source are archived."""
        return folder_of(self.department, self.category, self.request.name)


class Manifest(Frozen):
    """All that is known of one archived file."""

    schema_version: Literal[1] = 1
    department: str
    category: str
    source: str
    source_url: str
    """As the configuration names it; secrets are no part of it."""
    page_url: str | None
    link_title: str | None
    url: str
    """Where it was found, after redirects."""
    original_name: str
    name: str
    sha256: str
    bytes: int
    content_type: str | None
    headers: Mapping[str, str]
    """What the server said of it, without secrets."""
    validator: str | None
    """Its ETag, else its Last-Modified."""
    request: str
    """Digest of what was asked for: URL, parameters and headers, secrets by name."""
    first_seen: datetime
    last_seen: datetime
    """When it last became what the source gives; what stays does not change its manifest."""

    @property
    def text(self) -> str:
        """The manifest as it lies beside its file."""
        return self.model_dump_json(indent=2) + "\n"


def folder_of(department: str, category: str, source: str) -> str:
    """Where the files of a source are archived."""
    return f"archive/{department}/{category}/{source}"


def manifest_of(
    origin: Origin, received: Received, file: Artifact, at: datetime, before: Manifest | None
) -> Manifest:
    """The manifest of a file that has just become what its source gives.

    Args:
        origin: whose file it is, and what was asked for
        received, file: what the source gave, and its bytes
        at: when it was asked
        before: the manifest that these bytes of this source have already
    """
    return Manifest(
        department=origin.department,
        category=origin.category,
        source=origin.request.name,
        source_url=shown_url(origin.request),
        page_url=origin.page_url,
        link_title=origin.link_title,
        url=received.url,
        original_name=received.original_name,
        name=archived_name(received.name),
        sha256=file.sha256,
        bytes=file.bytes,
        content_type=received.content_type,
        headers=received.headers,
        validator=received.validator,
        request=request_digest(origin.request),
        first_seen=before.first_seen if before else at,
        last_seen=at,
    )


def archived_name(name: str) -> str:
    """A file's name in its folder, where other names are taken."""
    return f"file_{name}" if name.lower() in RESERVED else name


def request_digest(request: Request) -> str:
    """What tells one request from another, whatever its source is called."""
    return digest({"url": request.url, "parameters": request.parameters, "headers": request.headers})


def shown_url(request: Request) -> str:
    """A request's URL with its parameters, `***` for secrets."""
    shown = "&".join(
        f"{name}={'***' if isinstance(value, SecretValue) else value}"
        for name, value in request.parameters.items()
    )
    if not shown:
        return request.url
    return f"{request.url}{'&' if '?' in request.url else '?'}{shown}"
