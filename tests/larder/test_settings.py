"""Where settings come from, and what is said when one cannot be used."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from larder import settings as module
from larder.settings import CHECKOUT, Settings, SettingsError, settings, stack_environment


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home's folder"
    folder.mkdir()
    monkeypatch.setenv("LARDER_HOME", str(folder))
    return folder


@pytest.fixture
def dotenv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "dotenv"
    monkeypatch.setitem(Settings.model_config, "env_file", file)
    return file


def test_defaults_leave_the_store_to_the_block(home: Path, dotenv: Path) -> None:
    found = settings()
    assert (found.s3_endpoint_url, found.s3_access_key_id, found.bucket) == (None, None, None)
    assert found.bucket_name == "larder"
    assert (found.parallel, found.lease_seconds, found.store_seconds) == (8, 15, 600)
    assert found.catalog_url == str(CHECKOUT / "catalog")


def test_environment_wins_over_stack_file_wins_over_dotenv(
    home: Path, dotenv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dotenv.write_text("LARDER_BUCKET=from-dotenv\nLARDER_PARALLEL=3\nLARDER_STORE_SECONDS=5\n")
    (home / "env").write_text("export LARDER_BUCKET=from-stack\nexport LARDER_PARALLEL=4\n")
    monkeypatch.setenv("LARDER_BUCKET", "from-environment")
    found = settings()
    assert (found.bucket, found.parallel, found.store_seconds) == ("from-environment", 4, 5)


def test_local_mode_does_not_read_dotenv(home: Path, dotenv: Path) -> None:
    dotenv.write_text("LARDER_BUCKET=from-dotenv\n")
    assert settings().bucket == "from-dotenv"
    (home / "mode").write_text("local\n")
    assert settings().bucket is None


def test_an_empty_variable_counts_as_not_given(
    home: Path, dotenv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LARDER_BUCKET", "")
    assert settings().bucket is None


def test_settings_are_read_anew(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LARDER_PARALLEL", "2")
    assert settings().parallel == 2
    monkeypatch.setenv("LARDER_PARALLEL", "3")
    assert settings().parallel == 3


@pytest.mark.parametrize(
    ("variable", "value", "valid"),
    [
        ("LARDER_PARALLEL", "many", "integer"),
        ("LARDER_PARALLEL", "0", "greater than or equal to 1"),
        ("LARDER_LEASE_SECONDS", "-1", "greater than or equal to 1"),
        ("LARDER_TIMEZONE", "Mars/Olympus", "America/New_York"),
        ("LARDER_TIMEZONE", "../etc/passwd", "America/New_York"),
        ("LARDER_S3_ENDPOINT_URL", "localhost:9000", "http://HOST"),
        ("LARDER_S3_ENDPOINT_URL", "http://me:secret@store", "http://HOST"),
        ("LARDER_REDIS_URL", "secret@redis", "redis://"),
        ("LARDER_BUCKET", "Not_A_Bucket", "lower-case"),
        ("LARDER_CONFINE", "perhaps", "'available' or 'required'"),
        (
            "LARDER_RECIPE_SECRETS",
            "WAREHOUSE,LARDER_S3_SECRET_ACCESS_KEY",
            "neither with LARDER_ nor PREFECT_",
        ),
        ("LARDER_RECIPE_SECRETS", "prefect_api_auth_string", "neither with LARDER_ nor PREFECT_"),
        ("LARDER_RECIPE_SECRETS", "WAREHOUSE PASSWORD", "commas between them"),
    ],
)
def test_a_bad_value_names_its_variable_and_what_is_valid(
    variable: str, value: str, valid: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as caught:
        settings()
    assert caught.value.variable == variable
    assert str(caught.value).startswith(variable)
    assert valid in str(caught.value)
    assert "secret" not in str(caught.value)


def test_lists_stand_in_one_variable(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (settings().recipe_secrets, settings().command_paths) == ((), ())
    monkeypatch.setenv("LARDER_RECIPE_SECRETS", "WAREHOUSE_PASSWORD, API_TOKEN,")
    monkeypatch.setenv("LARDER_COMMAND_PATHS", "/opt/tools:/srv/fonts")
    assert settings().recipe_secrets == ("WAREHOUSE_PASSWORD", "API_TOKEN")
    assert settings().command_paths == (Path("/opt/tools"), Path("/srv/fonts"))


def test_secrets_are_in_no_repr(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LARDER_S3_SECRET_ACCESS_KEY", "hush-hush")
    monkeypatch.setenv("LARDER_REDIS_URL", "redis://:hush-hush@redis:6379/0")
    assert "hush" not in repr(settings())
    assert "hush" not in str(settings().model_dump())


def test_the_stack_file_holds_any_value_as_a_shell_would_read_it(home: Path) -> None:
    secret = """it's "$HOME" `x` \\ #1"""
    (home / "env").write_text(f"export LARDER_S3_SECRET_ACCESS_KEY={shlex.quote(secret)}\n")
    sourced = subprocess.run(
        ["bash", "-c", '. "$1"; printf %s "$LARDER_S3_SECRET_ACCESS_KEY"', "bash", home / "env"],
        check=True,
        capture_output=True,
        text=True,
    )
    found = settings().s3_secret_access_key
    assert found
    assert found.get_secret_value() == sourced.stdout == secret
    assert stack_environment()["LARDER_S3_SECRET_ACCESS_KEY"] == secret


def test_a_broken_stack_file_is_named(home: Path) -> None:
    (home / "env").write_text("export LARDER_BUCKET='larder\n")
    with pytest.raises(SettingsError, match=r"env cannot be read"):
        settings()


def test_settings_do_not_import_prefect() -> None:
    script = "import sys, larder.settings, larder.s3; sys.exit('prefect' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=module.CHECKOUT)
