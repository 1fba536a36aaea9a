"""What the store answers when it does not give what was asked for."""


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
