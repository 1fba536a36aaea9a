"""Every setting, once: `LARDER_*` from the environment, the stack's own file, `.env`, or a default."""

import os
import re
import shlex
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

CHECKOUT = Path(__file__).resolve().parent.parent
"""The folder that holds `setup.sh`."""

DEFAULT_BUCKET = "larder"
BLOCK_REFERENCE = "s3-bucket/larder-results"
"""How a Prefect flow or task names the block that every result goes through."""


class SettingsError(ValueError):
    """A setting holds a value that cannot be used. `variable` names it."""

    def __init__(self, variable: str, message: str) -> None:
        super().__init__(f"{variable}: {message}")
        self.variable = variable


def _endpoint(value: str) -> str:
    value = value.strip().rstrip("/")
    scheme, _, host = value.partition("://")
    if scheme not in {"http", "https"} or not host or "/" in host or "@" in host:
        raise ValueError("valid is http://HOST[:PORT] or https://HOST[:PORT], without user or path")
    return value


def _bucket(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", value):
        raise ValueError("valid are 3 to 63 lower-case letters, digits, dots and dashes")
    return value


def _redis(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("valid is redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE], rediss://… or unix://…")
    return value


def _catalog(value: object) -> object:
    text = str(value).strip()
    return text.rstrip("/") if "://" in text else str(Path(text).expanduser().absolute())


def _object_url_template(value: str) -> str:
    try:
        value.format(bucket="b", folder="f", name="n")
    except (KeyError, IndexError, ValueError) as error:
        raise ValueError("valid is a URL that may hold {bucket}, {folder} and {name}") from error
    return value


def _home(value: object) -> object:
    return Path(str(value)).expanduser().absolute()


def _timezone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError("valid is a name of the IANA time zone database, as America/New_York") from error
    return value


class Settings(BaseSettings):
    """What a command, a worker and the stack need to know. Read anew by `settings()`.

    `s3_endpoint_url`, the keys and `bucket` are None where not given: the saved block then decides.
    """

    model_config = SettingsConfigDict(
        env_prefix="LARDER_",
        env_file=CHECKOUT / ".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    s3_endpoint_url: Annotated[str, AfterValidator(_endpoint)] | None = None
    """Where the S3 store answers."""
    s3_access_key_id: str | None = None
    s3_secret_access_key: SecretStr | None = None
    bucket: Annotated[str, AfterValidator(_bucket)] | None = None
    object_url: Annotated[str, AfterValidator(_object_url_template)] | None = None
    """Where a person looks at an object: a URL with `{bucket}`, `{folder}` and `{name}`."""
    redis_url: Annotated[SecretStr, AfterValidator(_redis)] | None = None
    """Where leases are kept; None keeps them in files of this home."""
    catalog_url: Annotated[str, BeforeValidator(_catalog)] = str(CHECKOUT / "catalog")
    """Folder, s3:// or https:// under which input datasets lie."""
    home: Annotated[Path, BeforeValidator(_home)] = CHECKOUT / ".larder"
    """Where the local stack, scratch and leases live."""
    parallel: int = Field(8, ge=1, le=256)
    """Inputs that are loaded at once."""
    input_bytes: int = Field(100 * 2**30, ge=1)
    """How large one input may be, unpacked."""
    input_seconds: float = Field(3600, gt=0)
    """How long one input may take to come."""
    lease_seconds: float = Field(15, ge=1, le=3600)
    """How long a lease outlives its holder."""
    store_seconds: float = Field(60, ge=0, le=3600)
    """How long one stage keeps trying a store that does not answer."""
    timezone: Annotated[str, AfterValidator(_timezone)] = "America/New_York"
    """The time zone in which a run has its day."""

    @property
    def bucket_name(self) -> str:
        """The bucket that is given, else the one that setup makes."""
        return self.bucket or DEFAULT_BUCKET

    @property
    def scratch(self) -> Path:
        """Folder of the runs' scratch folders."""
        return self.home / "scratch"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment, then the stack's file, then the checkout's `.env`."""
        home = home_folder()
        stack = InitSettingsSource(settings_cls, _own_fields(_stack_file(home)))
        if is_local(home):
            return init_settings, env_settings, stack, file_secret_settings
        return init_settings, env_settings, stack, dotenv_settings, file_secret_settings


def settings() -> Settings:
    """The settings as they stand now.

    Raises:
        SettingsError: a value cannot be used.
    """
    home = home_folder()
    files = (home / "env", home / "mode", CHECKOUT / ".env")
    given = tuple(sorted(item for item in os.environ.items() if item[0].upper().startswith("LARDER_")))
    return _read(given, tuple(map(_stamp, files)))


@lru_cache(maxsize=8)
def _read(given: tuple[tuple[str, str], ...], stamps: tuple[object, ...]) -> Settings:  # noqa: ARG001
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        variable = "LARDER_" + str(first["loc"][0]).upper()
        message = first["msg"].removeprefix("Value error, ")
        raise SettingsError(variable, message) from None


def _stamp(file: Path) -> object:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def home_folder() -> Path:
    """`$LARDER_HOME`, else `.larder/` in the checkout."""
    given = os.environ.get("LARDER_HOME")
    return Path(given).expanduser().absolute() if given else CHECKOUT / ".larder"


def is_local(home: Path) -> bool:
    """Whether the stack of this home was started in local mode."""
    try:
        return (home / "mode").read_text().strip() == "local"
    except FileNotFoundError:
        return False


def stack_environment() -> dict[str, str]:
    """What the stack of this home wrote for its users: `LARDER_*` and `PREFECT_API_URL`; empty if none runs.

    To be put into the environment, where not given there, before Prefect is imported.
    """
    return _stack_file(home_folder())


def _stack_file(home: Path) -> dict[str, str]:
    try:
        words = shlex.split((home / "env").read_text(), comments=True)
    except FileNotFoundError:
        return {}
    except (ValueError, UnicodeDecodeError) as error:
        raise SettingsError(
            "LARDER_HOME", f"{home / 'env'} cannot be read ({error}); run ./setup.sh"
        ) from error
    return dict(word.split("=", 1) for word in words if "=" in word)


def _own_fields(environment: Mapping[str, str]) -> dict[str, Any]:
    named = {name.removeprefix("LARDER_").lower(): value for name, value in environment.items()}
    return {name: value for name, value in named.items() if name in Settings.model_fields and value}
