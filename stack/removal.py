"""Ends the stack in containers, and removes what this checkout made and nothing else."""

from dataclasses import dataclass

from stack import compose, secret_file, volumes
from stack.home import Home
from stack.ownership import holds_no_data, project, require_own_containers


@dataclass(frozen=True)
class Removal:
    """What `down` would end and remove."""

    services: tuple[str, ...]
    volumes: tuple[volumes.Volume, ...]
    keep_store: bool
    """Whether the store is not ours, so that its keys stay."""


def what_is_there() -> Removal:
    """The containers and the data of this checkout.

    Raises:
        SetupError: what bears the name of this stack was made by another checkout.
    """
    compose.require_engine()
    before = secret_file.content()
    try:
        secret_file.complete()
        require_own_containers()
        data = volumes.of_project(project())
        volumes.require_own(data, str(secret_file.checkout()))
        there = sorted({container.service for container in compose.containers()})
        return Removal(tuple(there), tuple(data), "minio" not in compose.services())
    finally:
        if before is None:
            secret_file.restore(before)


def stop(home: Home, there: Removal, *, with_data: bool) -> None:
    """Removes the containers and what was only of use to them; with their data, that and the image too."""
    before = secret_file.content()
    secret_file.complete()
    log = home.folder / "log" / "compose.log"
    compose.tell(log, *compose.EVERYTHING, "rm", "--stop", "--force", "--volumes")
    compose.tell(log, *compose.EVERYTHING, "down", "--remove-orphans")
    own = there.volumes if with_data else [one for one in there.volumes if holds_no_data(one)]
    volumes.remove(own)
    if with_data:
        compose.remove_image("worker")
        compose.remove_old_images(project())
        secret_file.forget(keep_store=there.keep_store)
    elif before is None:
        secret_file.restore(before)
    home.set_mode(None)
