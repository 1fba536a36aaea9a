"""Every setting, once: `LARDER_*` from the environment, the stack's own file, `.env`, or a default."""

import os
import shlex
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from larder import setting_values as values

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

    s3_endpoint_url: Annotated[str, AfterValidator(values.endpoint)] | None = None
    """Where the S3 store answers."""
    s3_access_key_id: str | None = None
    s3_secret_access_key: SecretStr | None = None
    s3_region: str | None = None
    """Where a store of AWS lies; us-east-1 where not given."""
    bucket: Annotated[str, AfterValidator(values.bucket_name)] | None = None
    object_url: Annotated[str, AfterValidator(values.object_url_template)] | None = None
    """Where a person looks at an object: a URL with `{bucket}`, `{folder}` and `{name}`."""
    redis_url: Annotated[SecretStr, AfterValidator(values.redis_url)] | None = None
    """Where leases are kept; None keeps them in files of this home."""
    catalog_url: Annotated[str, BeforeValidator(values.catalog_url)] = str(CHECKOUT / "catalog")
    """Folder, s3:// or https:// under which input datasets lie."""
    home: Annotated[Path, BeforeValidator(values.folder)] = CHECKOUT / ".larder"
    """Where the local stack, scratch and leases live."""
    parallel: int = Field(8, ge=1, le=256)
    """Stages that run at once in one run."""
    runner: Literal["threads", "processes"] = "threads"
    """Where stages are executed: on threads of the run's process, or in processes of their own."""
    input_bytes: int = Field(100 * 2**30, ge=1)
    """How large one input may be, unpacked."""
    input_seconds: float = Field(3600, gt=0)
    """How long one input may take to come, and then to be read."""
    input_memory_bytes: int = Field(4 * 2**30, ge=2**28)
    """How much memory the reading of one input may take."""
    stage_seconds: float = Field(86_400, gt=0)
    """How long one model or command may take; a recipe's `limit_seconds` can only be shorter."""
    stage_bytes: int = Field(100 * 2**30, ge=2**20)
    """How much disk one model or command may fill; a recipe's `limit_bytes` can only be less."""
    stage_processes: int = Field(1000, ge=10)
    """How many processes and threads one command may have at once."""
    memory_bytes: int | None = Field(None, ge=2**28)
    """How much memory all stages that run at once share; None takes three quarters of what there is."""
    keep_free_bytes: int = Field(2**30, ge=0)
    """How much of the disk no model and no command may fill."""
    confine: values.Confine = values.Confine.AVAILABLE
    """Whether commands run where the kernel cannot confine them."""
    command_paths: Annotated[tuple[Path, ...], NoDecode, BeforeValidator(values.paths)] = ()
    """Folders and files that commands may read besides the system's and Python's own."""
    recipe_secrets: Annotated[tuple[str, ...], NoDecode, BeforeValidator(values.secret_names)] = ()
    """The variables that `value_from: {env: NAME}` of a recipe may read."""
    lease_seconds: float = Field(15, ge=1, le=3600)
    """How long a lease outlives its holder."""
    store_seconds: float = Field(600, ge=0, le=86_400)
    """How long one stage keeps trying a store that does not answer."""
    timezone: Annotated[str, AfterValidator(values.timezone_name)] = "America/New_York"
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
