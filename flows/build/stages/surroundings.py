"""What commands find of the machine on which they run."""

import os
import sys
from pathlib import Path

from pydantic import SecretStr

from larder.artifacts import Frozen


class Surroundings(Frozen):
    """What is there for commands, besides what a recipe gives them."""

    must_be_confined: bool = False
    """Whether commands are refused where the kernel cannot confine them."""
    abi: int | None = None
    """The version of Landlock to use; None takes what the kernel has."""
    programs: str = os.defpath
    """Folders of programs, as `PATH` has them."""
    certificates: dict[str, str] = {}
    """Variables that name trusted certificates."""
    readable: tuple[Path, ...] = ()
    """Further files and folders that commands may read."""
    hidden: tuple[Path, ...] = ()
    """What they may not read, wherever it lies."""
    secrets: dict[str, SecretStr] = {}
    """Variables that connector arguments may read, as far as they are set."""

    @property
    def environment(self) -> dict[str, str]:
        """What commands see of our own environment; programs installed beside us are found first."""
        beside = str(Path(sys.executable).parent)
        return {**self.certificates, "PATH": os.pathsep.join([beside, self.programs])}
