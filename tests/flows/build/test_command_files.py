"""Which files beside a recipe travel with it, and which never do."""

import subprocess
from pathlib import Path

import pytest

from flows.build.command_files import named
from flows.build.recipe.schema import Recipe
from larder.refusal import RefusedError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe's folder in a checkout, with files that are to travel and others that are not."""
    monkeypatch.setenv("LARDER_HOME", str(tmp_path / "state"))
    for name in (
        *("a.sql", "dbt/b.sql", "dbt/target/c.sql", "kept.log", "lost.log", "__pycache__/d.pyc"),
        *(".env", ".larder/env", "dbt/.user.yml", "state/env"),
    ):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True, parents=True)
        file.write_text(name)
    (tmp_path / ".gitignore").write_text("target/\n*.log\n")
    (tmp_path / "settings").symlink_to(".env")
    for words in (["init", "-q"], ["add", "-f", "kept.log"]):
        subprocess.run(["git", *words], check=True, cwd=tmp_path)
    return tmp_path


def taken(folder: Path, *patterns: str) -> list[str]:
    """The paths of the files that such patterns take."""
    build = {"files": patterns, "commands": [{"name": "c", "run": "true"}]}
    content = {
        "name": "A",
        "product": "a",
        "version": "1",
        "inputs": {},
        "stage_config": {"builds.build": build},
    }
    found = named(Recipe.model_validate(content), folder)
    return sorted(found.files) if found else []


@pytest.mark.parametrize("pattern", ["**", "."])
def test_hidden_ignored_and_own_files_are_never_taken(folder: Path, pattern: str) -> None:
    assert taken(folder, pattern) == ["a.sql", "dbt/b.sql", "kept.log"]
    assert taken(folder, "dbt", "a.*") == ["a.sql", "dbt/b.sql"]


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        (".env", "it is hidden"),
        ("settings", "it is hidden"),
        ("state/env", "it lies below LARDER_HOME"),
        (".larder/**", "it is hidden"),
        ("lost.log", "git ignores it"),
        ("dbt/target", "git ignores it"),
        ("__pycache__/d.pyc", "it lies in __pycache__"),
        ("nothing/**", "which matches none"),
    ],
)
def test_what_is_named_outright_and_never_taken_is_refused(folder: Path, pattern: str, why: str) -> None:
    with pytest.raises(RefusedError) as caught:
        taken(folder, "a.sql", pattern)
    assert "stage_config.builds.build.files[1]" in str(caught.value)
    assert why in str(caught.value)


def test_a_checkout_that_git_does_not_answer_for_is_refused(folder: Path) -> None:
    (folder / ".git" / "HEAD").write_text("nonsense")
    with pytest.raises(RefusedError, match="a folder of which git says what it ignores"):
        taken(folder, "**")
