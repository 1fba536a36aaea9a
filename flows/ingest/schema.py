"""What the configuration of a department may hold."""

from ipaddress import ip_network
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from flows.ingest.page_links import canonical_url
from larder.artifacts import Frozen
from larder.names import DurationSeconds, Name, Title, wrong

STAGES = ("ingestion", "processing", "analysis")
"""The stages of a department, in the order in which they run."""


def _url(text: str) -> str:
    parts = urlsplit(text)
    if "@" in parts.netloc or canonical_url(text) is None:
        raise ValueError("an http:// or https:// URL with a host and without a login (secrets are blocks)")
    if parts.fragment:
        raise ValueError("a URL without a fragment (#…)")
    return text


def _host(text: str) -> str:
    plain = text.removeprefix("*.").lower()
    if not plain or any(mark in plain for mark in "/*@ ?#") or ("." not in plain and plain != text.lower()):
        raise ValueError("a host, as example.org, *.example.org or 127.0.0.1")
    return text.lower()


def _network(text: str) -> str:
    try:
        return str(ip_network(text))
    except ValueError as error:
        raise ValueError("a network, as 10.0.0.0/8 or fd00::/8") from error


def _field(text: str) -> str:
    if not text or "" in text.split("."):
        raise ValueError("the path of a field, as meta.next")
    return text


Url = Annotated[str, AfterValidator(_url)]
Host = Annotated[str, AfterValidator(_host)]
Network = Annotated[str, AfterValidator(_network)]
FieldPath = Annotated[str, AfterValidator(_field)]
HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,100}$")]
MediaType = Annotated[str, Field(pattern=r"^[a-z0-9.+*-]+/[a-z0-9.+*-]+$")]
Count = Annotated[int, Field(ge=1)]


class SecretValue(Frozen):
    """A value that stands in a Secret block."""

    secret: Name
    """The block's name."""
    prefix: str = ""
    """What stands before it, as `Bearer `."""


Value = SecretValue | str


class Limits(Frozen):
    """How far a source may go."""

    bytes: Count = 2**30
    """How large a file may be, unpacked."""
    seconds: Annotated[float, Field(gt=0, le=86_400)] = 3600
    """How long one file, or all pages of an API, may take."""
    answer_seconds: Annotated[float, Field(gt=0, le=600)] = 15
    """How long a server may say nothing."""
    tries: Annotated[int, Field(ge=1, le=20)] = 5
    """How often a server that fails is asked, and how often a file that is cut is continued."""
    pause_seconds: DurationSeconds = 1
    """Before the second try; twice as long before each further one."""
    pages: Count = 1000
    """How many pages of an API are read."""


class Access(Frozen):
    """Where a category may connect to, and how far it may go."""

    hosts: Annotated[tuple[Host, ...], Field(min_length=1)]
    """The hosts that may be asked, redirects included: `example.org`, `*.example.org`."""
    networks: tuple[Network, ...] = ()
    """Private networks that these hosts may lie in. Without them only public addresses are connected to."""
    limits: Limits = Limits()


class Request(Frozen):
    """What is asked for. It says which answer it is: with other content it is another request."""

    name: Name
    url: Url
    parameters: dict[str, Value] = {}
    """Put into the URL's query."""
    headers: dict[HeaderName, Value] = {}
    """Sent to this host alone."""
    conditional: bool = True
    """Whether its ETag and Last-Modified are trusted to say that it did not change."""

    @property
    def tells_its_version(self) -> bool:
        """Whether it is asked which version it has before it is fetched."""
        return self.conditional


class FileSource(Request):
    """One file on the web."""

    content_types: tuple[MediaType, ...] = ()
    """Those that it may have, `text/*` too; any where none is named."""
    called: Name | None = None
    """Its name in the archive; where not given the one that the server says, made safe."""


class LinkHeader(Frozen):
    """The next page is named by the header `Link: <…>; rel="next"`."""

    by: Literal["link_header"]


class NextField(Frozen):
    """The next page's URL stands in the page."""

    by: Literal["next_field"]
    field: FieldPath


class Cursor(Frozen):
    """The page holds a text that the next request sends back."""

    by: Literal["cursor"]
    field: FieldPath
    parameter: str


class Offset(Frozen):
    """Each request says how many records it skips."""

    by: Literal["offset"]
    parameter: str = "offset"
    limit_parameter: str = "limit"
    limit: Count


Pagination = Annotated[LinkHeader | NextField | Cursor | Offset, Field(discriminator="by")]


class ApiSource(Request):
    """JSON over HTTP."""

    records: FieldPath | None = None
    """Where the list of records stands in a page; None where a page is that list."""
    pagination: Pagination | None = None
    """How the next page is found; None where there is but one, which is kept as it came."""

    @property
    def tells_its_version(self) -> bool:
        """Of several pages none tells of the others."""
        return self.conditional and self.pagination is None


class PageSource(Request):
    """A web page and its links."""

    follow: tuple[str, ...] = ()
    """Patterns of URLs (`*/reports/*.csv`): the files that the page links to and that are ingested too."""
    content_types: tuple[MediaType, ...] = ()
    """Those that followed files may have; any where none is named."""


class _Ingestion(Access):
    @model_validator(mode="after")
    def _sources_are_reached(self) -> "_Ingestion":
        seen: set[str] = set()
        for source in self.requests:
            if source.name.lower() in seen:
                raise wrong(f"source {source.name} twice", "sources of different names")
            seen.add(source.name.lower())
            host = urlsplit(source.url).hostname or ""
            if not any(host_matches(host, pattern) for pattern in self.hosts):
                raise wrong(f"source {source.name} at {host}", f"one of hosts: {', '.join(self.hosts)}")
        return self

    @property
    def requests(self) -> tuple[Request, ...]:
        """What the category asks for."""
        sources: tuple[Request, ...] = getattr(self, "sources", ())
        return sources

    @property
    def access(self) -> Access:
        """Where it may connect to, without what it asks for."""
        return Access(hosts=self.hosts, networks=self.networks, limits=self.limits)


class Files(_Ingestion):
    """A category of files."""

    kind: Literal["files"]
    sources: Annotated[tuple[FileSource, ...], Field(min_length=1)]


class Apis(_Ingestion):
    """A category of APIs."""

    kind: Literal["apis"]
    sources: Annotated[tuple[ApiSource, ...], Field(min_length=1)]


class Pages(_Ingestion):
    """A category of web pages."""

    kind: Literal["pages"]
    sources: Annotated[tuple[PageSource, ...], Field(min_length=1)]


class ArchivedSource(Frozen):
    """One file that another category brought in."""

    category: Name
    source: Name

    @property
    def label(self) -> str:
        """How it is called."""
        return f"{self.category}/{self.source}"


class LinkCounts(Frozen):
    """How often each host is linked to, of pages that were brought in."""

    kind: Literal["link_counts"]
    inputs: Annotated[tuple[ArchivedSource, ...], Field(min_length=1)]


class CsvProfiles(Frozen):
    """Columns, nulls, extremes and distinct values of CSV files that were brought in."""

    kind: Literal["csv_profiles"]
    inputs: Annotated[tuple[ArchivedSource, ...], Field(min_length=1)]


Ingestion = Annotated[Files | Apis | Pages, Field(discriminator="kind")]
Category = Annotated[Files | Apis | Pages | LinkCounts | CsvProfiles, Field(discriminator="kind")]


def host_matches(host: str, pattern: str) -> bool:
    """Whether a host is the one that a pattern names, or lies below `*.`."""
    host = host.lower().rstrip(".")
    return host == pattern or (pattern.startswith("*.") and host.endswith(pattern[1:]))


def _without_none(value: object) -> object:
    return {} if value is None else value


class Department(Frozen):
    """All that one department ingests, and what it makes of it."""

    id: Name
    name: Title
    """Its full name."""
    ingestion: Annotated[dict[Name, Ingestion], BeforeValidator(_without_none)] = {}
    processing: Annotated[dict[Name, LinkCounts | CsvProfiles], BeforeValidator(_without_none)] = {}
    analysis: Annotated[dict[Name, LinkCounts | CsvProfiles], BeforeValidator(_without_none)] = {}

    @field_validator("processing", "analysis")
    @classmethod
    def _inputs_are_there(cls, stage: dict[str, LinkCounts], info: ValidationInfo) -> dict[str, LinkCounts]:
        ingestion: dict[str, Files] = info.data.get("ingestion", {})
        for category in stage.values():
            for one in category.inputs:
                if one.category not in ingestion:
                    known = ", ".join(ingestion) or "none"
                    raise wrong(f"category {one.category}", f"a category of ingestion: {known}")
        return stage
