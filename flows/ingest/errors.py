"""What can go wrong with a source, told apart by whether trying again can help."""


class SourceError(Exception):
    """A source cannot be taken as it is. Trying again does not help.

    Attributes:
        url: where it was, without credentials
        cause: what was found, and what to do
    """

    def __init__(self, url: str, cause: str) -> None:
        super().__init__(url, cause)
        self.url = url
        self.cause = cause

    def __str__(self) -> str:
        return f"{self.url} cannot be ingested: {self.cause}"


class ForbiddenError(SourceError):
    """A URL, a redirect or an address that the configuration does not allow."""


class SourceUnreachable(Exception):  # noqa: N818
    """A source did not answer, or not to its end. Trying again can help.

    Attributes:
        url: where it was, without credentials
        cause: what happened
        retry_after_seconds: how long the server asks to wait; None where it does not say
    """

    def __init__(self, url: str, cause: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(url, cause, retry_after_seconds)
        self.url = url
        self.cause = cause
        self.retry_after_seconds = retry_after_seconds

    def __str__(self) -> str:
        return f"{self.url} did not answer as it should: {self.cause}"
