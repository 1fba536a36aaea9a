"""What the values of settings may be. Each function raises ValueError that says what is valid."""

import os
import re
from enum import StrEnum
from pathlib import Path
from zoneinfo import ZoneInfo

from pydantic import SecretStr

OWN_NAMES = ("LARDER_", "PREFECT_")
"""How the variables of Larder and Prefect begin, which no recipe may read."""


class Confine(StrEnum):
    """When commands of recipes run."""

    AVAILABLE = "available"
    """Always, and confined as far as the kernel can."""
    REQUIRED = "required"
    """Only where the kernel confines them."""


def endpoint(value: str) -> str:
    """An S3 endpoint without a slash at its end."""
    value = value.strip().rstrip("/")
    scheme, _, host = value.partition("://")
    if scheme not in {"http", "https"} or not host or "/" in host or "@" in host:
        raise ValueError("valid is http://HOST[:PORT] or https://HOST[:PORT], without user or path")
    return value


def bucket_name(value: str) -> str:
    """The name of a bucket."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", value):
        raise ValueError("valid are 3 to 63 lower-case letters, digits, dots and dashes")
    return value


def redis_url(value: SecretStr) -> SecretStr:
    """The URL of a Redis."""
    if not value.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("valid is redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE], rediss://… or unix://…")
    return value


def catalog_url(value: object) -> object:
    """A URL, or the absolute path of a folder."""
    text = str(value).strip()
    return text.rstrip("/") if "://" in text else str(Path(text).expanduser().absolute())


def object_url_template(value: str) -> str:
    """A URL with the fields that people may use in it."""
    try:
        value.format(bucket="b", folder="f", name="n")
    except (KeyError, IndexError, ValueError) as error:
        raise ValueError("valid is a URL that may hold {bucket}, {folder} and {name}") from error
    return value


def folder(value: object) -> object:
    """The absolute path of a folder."""
    return Path(str(value)).expanduser().absolute()


def timezone_name(value: str) -> str:
    """A name of the IANA time zone database."""
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError("valid is a name of the IANA time zone database, as America/New_York") from error
    return value


def secret_names(value: object) -> object:
    """Names of variables, as a text with commas between them or one after the other."""
    names = value.split(",") if isinstance(value, str) else value
    found = (
        tuple(name.strip() for name in names if name.strip()) if isinstance(names, list | tuple) else names
    )
    for name in found if isinstance(found, tuple) else ():
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError(f"valid are names of variables with commas between them, and {name!r} is none")
        if name.upper().startswith(OWN_NAMES):
            raise ValueError(
                f"{name} is not for recipes: valid are names that begin neither with LARDER_ nor PREFECT_"
            )
    return found


def paths(value: object) -> object:
    """Absolute paths, as a text with the system's separator between them or one after the other."""
    given = value.split(os.pathsep) if isinstance(value, str) else value
    return (
        tuple(folder(one) for one in given if str(one).strip()) if isinstance(given, list | tuple) else given
    )
