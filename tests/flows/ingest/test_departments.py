from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.ingest.departments import DEPARTMENTS, Departments, chosen
from flows.ingest.schema import Department, Files
from larder.configuration import MOST_CHARACTERS
from larder.refusal import RefusedError

FILES: dict[str, Any] = {
    "kind": "files",
    "hosts": ["example.org"],
    "sources": [{"name": "one", "url": "https://example.org/one.csv"}],
}


@pytest.fixture
def departments(tmp_path: Path) -> Departments:
    """A department with one category."""
    (tmp_path / "alpha" / "ingestion").mkdir(parents=True)
    (tmp_path / "departments.yml").write_text("alpha: The department Alpha\n")
    write(tmp_path, "alpha/ingestion/files.yml", FILES)
    return Departments(folder=tmp_path, default="alpha")


def write(folder: Path, name: str, content: dict[str, Any]) -> None:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(content, sort_keys=False))


def test_the_shipped_department_is_whole_and_fits_a_variable() -> None:
    department = DEPARTMENTS.read("project_alpha")
    assert list(department.ingestion) == ["pages", "public_apis", "scheduled_files"]
    assert list(department.processing) == ["page_links"]
    assert list(department.analysis) == ["branch_profile"]
    assert DEPARTMENTS.variable("project_alpha") == "larder_ingest_project_alpha"
    assert len(department.model_dump_json()) <= MOST_CHARACTERS
    assert Department.model_validate(department.model_dump(mode="json")) == department


def test_a_department_is_read_from_its_files(departments: Departments) -> None:
    assert departments.names() == ["alpha"]
    department = departments.read("alpha")
    assert (department.id, department.name) == ("alpha", "The department Alpha")
    assert isinstance(department.ingestion["files"], Files)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sorces": []}, r"files\.yml: sorces.*found 'sorces', which is no option here"),
        ({"kind": "fils"}, r"kind: found fils; expected one of: files, apis, pages \(did you mean files\?\)"),
        ({"kind": None}, "kind: found nothing; expected one of: files, apis, pages"),
        ({"hosts": ["https://example.org"]}, r"hosts\[0\].*expected a host, as example.org"),
        ({"networks": ["10.0.0.1/8"]}, r"networks\[0\].*expected a network, as 10.0.0.0/8"),
        ({"limits": {"tries": 0}}, r"limits\.tries"),
        ({"sources": []}, "sources"),
    ],
)
def test_a_category_with_a_typo_is_refused_with_its_place(
    departments: Departments, changes: dict[str, Any], words: str
) -> None:
    content = {name: value for name, value in {**FILES, **changes}.items() if value is not None}
    write(departments.folder, "alpha/ingestion/files.yml", content)
    with pytest.raises(RefusedError, match=words):
        departments.read("alpha")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://other.example/one.csv", "source one at other.example; expected one of hosts: example.org"),
        ("https://me:word@example.org/", "without a login"),
        ("ftp://example.org/", "an http:// or https:// URL"),
        ("https://example.org/#part", "without a fragment"),
    ],
)
def test_a_url_that_will_not_be_asked_for_is_refused(departments: Departments, url: str, words: str) -> None:
    write(
        departments.folder, "alpha/ingestion/files.yml", {**FILES, "sources": [{"name": "one", "url": url}]}
    )
    with pytest.raises(RefusedError, match=words):
        departments.read("alpha")


def test_a_source_of_a_name_that_is_taken_is_refused(departments: Departments) -> None:
    twice = [FILES["sources"][0], {**FILES["sources"][0], "name": "ONE"}]
    write(departments.folder, "alpha/ingestion/files.yml", {**FILES, "sources": twice})
    with pytest.raises(RefusedError, match="source ONE twice"):
        departments.read("alpha")


def test_an_unknown_department_or_category_is_refused_with_those_that_are_there(
    departments: Departments,
) -> None:
    with pytest.raises(RefusedError, match=r"one of: alpha \(did you mean alpha\?\)"):
        departments.read("alfa")
    with pytest.raises(RefusedError, match=r"category: found 'fils'; expected one of: files"):
        chosen(departments.read("alpha"), "fils")
    assert [name for _, name, _ in chosen(departments.read("alpha"), "files")] == ["files"]


def test_a_file_in_a_folder_that_is_no_stage_is_refused(departments: Departments) -> None:
    write(departments.folder, "alpha/ingest/files.yml", FILES)
    with pytest.raises(RefusedError, match=r"STAGE is one of: ingestion, .*did you mean ingestion"):
        departments.read("alpha")


def test_what_is_made_of_a_category_that_is_not_there_is_refused(departments: Departments) -> None:
    counts = {"kind": "link_counts", "inputs": [{"category": "pages", "source": "home"}]}
    write(departments.folder, "alpha/processing/counts.yml", counts)
    with pytest.raises(RefusedError, match="category pages; expected a category of ingestion: files"):
        departments.read("alpha")
