"""The departments' configurations: `departments.yml`, and files `<department>/<stage>/<category>.yml`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from flows.ingest.schema import STAGES, Apis, CsvProfiles, Department, Files, LinkCounts, Pages
from larder.artifacts import Frozen
from larder.configuration import Configurations
from larder.refusal import Problem, RefusedError

FOLDER = Path(__file__).parent / "configuration"
NAMES = "departments.yml"
KINDS: Mapping[str, Mapping[str, type[Frozen]]] = {
    "ingestion": {"files": Files, "apis": Apis, "pages": Pages},
    "processing": {"link_counts": LinkCounts, "csv_profiles": CsvProfiles},
    "analysis": {"link_counts": LinkCounts, "csv_profiles": CsvProfiles},
}


@dataclass(frozen=True)
class Departments(Configurations[Department]):
    """One configuration for each department, put together from its files."""

    pipeline: str = "ingest"
    folder: Path = FOLDER
    model: type[Department] = Department
    default: str = "project_alpha"
    called: str | None = "department"

    def names(self) -> list[str]:
        """The ids of the departments."""
        return sorted(self._full_names())

    def read(self, name: str) -> Department:
        """A department from its files.

        Raises:
            RefusedError: there is none of that name, or one of its files is not as it should be.
        """
        known = self._full_names()
        if name not in known:
            raise RefusedError(self.pipeline, Problem("department", repr(name), one_of(name, known)))
        stages = {stage: self._categories(name, stage) for stage in STAGES}
        self._require_known_stages(name)
        return self.check({"id": name, "name": known[name], **stages}, str(self.folder / name))

    def _full_names(self) -> dict[str, str]:
        file = self.folder / NAMES
        content = _yaml(file)
        for name, title in content.items():
            if not isinstance(title, str):
                raise RefusedError(str(file), Problem(str(name), repr(title), "the department's full name"))
        return {str(name): title for name, title in content.items()}

    def _categories(self, department: str, stage: str) -> dict[str, Frozen]:
        folder = self.folder / department / stage
        return {file.stem: self._category(file, stage) for file in sorted(folder.glob("*.yml"))}

    def _category(self, file: Path, stage: str) -> Frozen:
        kinds, kind = KINDS[stage], str(_yaml(file).get("kind") or "nothing")
        if kind not in kinds:
            raise RefusedError(str(file), Problem("kind", kind, one_of(kind, kinds)))
        return Configurations(self.pipeline, self.folder, kinds[kind]).read_file(file)

    def _require_known_stages(self, department: str) -> None:
        for file in (self.folder / department).rglob("*.yml"):
            stage = file.relative_to(self.folder / department).parts[0]
            if stage not in STAGES or file.parent.parent.name != department:
                expected = f"{department}/STAGE/CATEGORY.yml, where STAGE is {one_of(stage, STAGES)}"
                raise RefusedError(str(file), Problem("its folder", str(file.parent), expected))


def chosen(department: Department, category: str | None) -> Iterator[tuple[str, str, Any]]:
    """Stage, name and configuration of the categories of a department, in the order in which they run.

    Args:
        department: whose
        category: the one that is asked for; all where None

    Raises:
        RefusedError: if there is none of that name.
    """
    every = [(stage, name, part) for stage in STAGES for name, part in getattr(department, stage).items()]
    names = [name for _, name, _ in every]
    if category is not None and category not in names:
        raise RefusedError(department.id, Problem("category", repr(category), one_of(category, names)))
    return (one for one in every if category in {None, one[1]})


def one_of(found: str, valid: Any) -> str:
    """What is expected in place of what was found: those that are valid, and the closest one."""
    names = list(map(str, valid))
    close = get_close_matches(found, names, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return f"one of: {', '.join(names) or 'none is there yet'}{hint}"


def _yaml(file: Path) -> Mapping[str, Any]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RefusedError(str(file), Problem("", str(error), "a YAML file in UTF-8")) from error
    if not isinstance(content, Mapping):
        raise RefusedError(str(file), Problem("", repr(content), "names with values"))
    return content


DEPARTMENTS = Departments()
