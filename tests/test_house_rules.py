"""What holds for all code here: who imports whom, no comments, types, one lock."""

import ast
import io
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from larder.settings import CHECKOUT

PACKAGES = ("bench", "blocks", "cli", "flows", "larder", "stack", "tests")
PREFECT_FREE = (
    "cli.main",
    "flows.build.definitions",
    "larder.forecast",
    "cli.following",
    "larder.keys",
    "flows.build.publish",
    "flows.build.recipe.file",
    "flows.build.report",
    "larder.results",
    "larder.leases",
    "larder.s3",
    "larder.settings",
    "larder.store",
)
MACHINERY_OF_PREFECT = (
    "prefect.cache_policies",
    "prefect.results",
    "prefect.serializers",
    "prefect.transactions",
)
REMARKS = re.compile(r"#!|# (noqa|type: ignore|shellcheck)")
MOST_COMMENTS = 12


def modules(*packages: str) -> Iterator[Path]:
    """Every Python file of these packages."""
    for package in packages:
        yield from sorted((CHECKOUT / package).rglob("*.py"))


def imports(file: Path) -> set[str]:
    """What a module imports, anywhere in it, as dotted names."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        match node:
            case ast.Import():
                found |= {alias.name for alias in node.names}
            case ast.ImportFrom():
                assert node.level == 0, f"{file} imports relatively"
                found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return found


def below(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


STAGE_FOLDERS = (
    *("flows/tables", "flows/build/stages", "flows/build/planning"),
    *("flows/activity/stages", "flows/ingest/stages", "flows/stream_writer/stages"),
    *("flows/medallion/stages", "flows/medallion/workflow"),
)
MAY_IMPORT = {
    "larder": ("larder",),
    "blocks": ("larder", "blocks"),
    "flows/tables": ("larder", "flows.tables"),
    "flows/build": ("larder", "flows.tables", "flows.build"),
    "flows/activity": ("larder", "flows.tables", "flows.activity"),
    "flows/ingest": ("larder", "flows.tables", "flows.ingest"),
    "flows/stream_writer": ("larder", "flows.tables", "flows.stream_writer"),
    "flows/medallion": ("larder", "flows.tables", "flows.medallion"),
    "cli": ("larder", "blocks", "flows", "cli"),
    "stack": ("larder", "blocks", "flows", "cli", "stack"),
}
COMMANDS_IMPORT = {"__main__.py": ("cli",)}
"""The `__main__` of a pipeline is a command."""
OURS = ("bench", "blocks", "cli", "flows", "larder", "stack", "tests")


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_a_folder_imports_only_what_lies_below_it(folder: str) -> None:
    wrong = [
        f"{file.relative_to(CHECKOUT)}: {name}"
        for file in modules(folder)
        for name in sorted(imports(file))
        if any(below(name, one) for one in OURS) and name != "flows"
        if not any(below(name, one) for one in (*MAY_IMPORT[folder], *COMMANDS_IMPORT.get(file.name, ())))
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("folder", STAGE_FOLDERS)
def test_the_functions_of_stages_know_neither_prefect_nor_the_engine(folder: str) -> None:
    allowed = ("larder.artifacts", "larder.names", "larder.refusal")
    for file in modules(folder):
        for name in imports(file):
            assert not below(name, "prefect"), f"{file}: {name}"
            if below(name, "larder") and name != "larder":
                assert any(below(name, one) for one in allowed), f"{file}: {name}"


@pytest.mark.parametrize("module", PREFECT_FREE)
def test_what_explains_does_not_import_prefect(module: str) -> None:
    code = f"import sys, {module}; sys.exit(any(name.split('.')[0] == 'prefect' for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=CHECKOUT).returncode == 0


def test_the_code_has_no_comments_but_a_few_reasons() -> None:
    found = [
        f"{file.relative_to(CHECKOUT)}:{token.start[0]} {token.string}"
        for file in modules(*PACKAGES)
        for token in tokenize.generate_tokens(io.StringIO(file.read_text()).readline)
        if token.type == tokenize.COMMENT and not REMARKS.match(token.string)
    ]
    others = (
        *("setup.sh", ".ci/run", "recipe.yml", "prefect.yaml", "pyproject.toml", "worker.Dockerfile"),
        *("docker-compose.yml", "docker-compose.s3.yml", "monitoring/prometheus.yml", "monitoring/rules.yml"),
    )
    for name in others:
        for number, line in enumerate((CHECKOUT / name).read_text().splitlines(), 1):
            if re.match(r"\s*#", line) and not REMARKS.match(line.strip()):
                found.append(f"{name}:{number} {line.strip()}")
    assert len(found) <= MOST_COMMENTS, "\n".join(found)
    for comment in found:
        assert comment.endswith("."), f"A comment is a sentence that gives a reason: {comment}"


def test_packages_have_empty_init_files() -> None:
    for file in modules(*PACKAGES):
        if file.name == "__init__.py":
            assert file.read_text() == ""


@pytest.mark.parametrize("words", [("ruff", "check"), ("ruff", "format", "--check"), ("mypy",)], ids=" ".join)
def test_the_code_is_clean(words: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *words], check=False, cwd=CHECKOUT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dockerfile_is_clean() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [hadolint, "worker.Dockerfile"], check=False, cwd=CHECKOUT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-worker.lock"])
def test_everything_is_locked_with_hashes_and_names_no_registry(name: str) -> None:
    lock = (CHECKOUT / name).read_text()
    assert "://" not in lock
    requirements = re.split(r"\n(?=[a-z])", lock)[1:]
    assert len(requirements) > 50
    for requirement in requirements:
        assert re.match(r"[A-Za-z0-9._-]+(\[[^]]+\])?==\S+", requirement)
        assert "--hash=sha256:" in requirement


def test_the_worker_has_the_versions_that_are_tested() -> None:
    here, worker = (
        dict(re.findall(r"^([a-z0-9._-]+)(?:\[[^]]+\])?==(\S+)", (CHECKOUT / name).read_text(), re.MULTILINE))
        for name in ("requirements.lock", "requirements-worker.lock")
    )
    assert {"prefect", "minio"} <= worker.keys()
    assert worker.items() <= here.items()


def test_every_dependency_is_locked_at_a_version_that_the_project_allows() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    optional = [one for many in project["optional-dependencies"].values() for one in many]
    lock = (CHECKOUT / "requirements.lock").read_text()
    locked = dict(re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]+\])?==(\S+)", lock, re.MULTILINE))
    for requirement in map(Requirement, [*project["dependencies"], *optional]):
        assert requirement.specifier.contains(locked[requirement.name.lower()]), requirement


def test_no_file_carries_a_path_of_the_machine_or_a_registry() -> None:
    above = {CHECKOUT.parent} - {Path("/"), Path("/tmp"), Path.home()}
    paths = [f"{folder}/".encode() for folder in (CHECKOUT, *above)]
    registry = re.compile(rb"[p]ythonhosted|[p]ypi\.(org|io)")
    for file in tracked():
        content = file.read_bytes()
        assert not any(path in content for path in paths), file
        assert not registry.search(content), file


def tracked() -> list[Path]:
    """The files that git knows; all that tests and packages hold where there is no git."""
    done = subprocess.run(
        ["git", "ls-files", "-z"], check=False, cwd=CHECKOUT, capture_output=True, text=True
    )
    files = [CHECKOUT / name for name in done.stdout.split("\0") if name] or list(modules(*PACKAGES))
    return [file for file in files if file.is_file()]
