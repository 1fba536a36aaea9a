"""The data of a stack in containers: what there is, how much, how old, and which checkout made it."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from stack import compose
from stack.steps import SetupError, age

CHECKOUT_LABEL = "larder.checkout"
PROJECT_LABEL = "com.docker.compose.project"
WITHOUT_DATA = ("scratch",)
"""Volumes that hold nothing which outlives a run."""


@dataclass(frozen=True)
class Volume:
    """One volume of a project."""

    name: str
    checkout: str | None
    """The checkout that made it; None where it does not say."""
    made: datetime
    size: str
    """As Docker shows it."""

    @property
    def shown(self) -> str:
        """Its name, size and age."""
        return f"volume {self.name}: {self.size}, {age(self.made)} old"


def of_project(project: str) -> list[Volume]:
    """The volumes of a project, whoever made them."""
    names = compose.engine("volume", "ls", "--quiet", "--filter", f"label={PROJECT_LABEL}={project}").split()
    if not names:
        return []
    sizes = {one["Name"]: one["Size"] for one in json.loads(_sizes())}
    return [
        Volume(
            name=one["Name"],
            checkout=(one["Labels"] or {}).get(CHECKOUT_LABEL),
            made=datetime.fromisoformat(one["CreatedAt"]),
            size=sizes.get(one["Name"], "?"),
        )
        for one in json.loads(compose.engine("volume", "inspect", *sorted(names)))
    ]


def require_own(found: Iterable[Volume], checkout: str) -> None:
    """Return if this checkout made them all.

    Raises:
        SetupError: another one did; nothing of it is touched.
    """
    if foreign := [volume for volume in found if volume.checkout != checkout]:
        owners = ", ".join(sorted({volume.checkout or "an unknown checkout" for volume in foreign}))
        names = ", ".join(volume.name for volume in foreign)
        raise SetupError(
            f"{names} were made by {owners}, not by this checkout, and are left alone. Give this stack a "
            "name of its own: LARDER_PROJECT=NAME ./setup.sh.",
            code=2,
        )


def remove(found: Sequence[Volume]) -> None:
    """Remove volumes that no container uses any more."""
    if found:
        compose.engine("volume", "rm", "--force", *(volume.name for volume in found), seconds=600)


def _sizes() -> str:
    return compose.engine("system", "df", "--verbose", "--format", "{{json .Volumes}}", seconds=600)
