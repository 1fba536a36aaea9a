"""Two checkouts are two stacks: what bears this one's name, and did this checkout make it?"""

import os

from larder.settings import CHECKOUT
from stack import compose, secret_file, volumes
from stack.steps import SetupError


def project() -> str:
    """The name under which Docker Compose knows this stack."""
    return os.environ.get("LARDER_PROJECT") or secret_file.read()["LARDER_PROJECT"]


def holds_no_data(volume: volumes.Volume) -> bool:
    """Whether a volume is of use to what runs alone."""
    return volume.name in {f"{project()}_{name}" for name in volumes.WITHOUT_DATA}


def require_own() -> None:
    """Makes the passwords where there are none, and returns if all that bears this stack's name is its own.

    Raises:
        SetupError: another checkout made it, or the passwords of what is there are gone.
    """
    is_new = "LARDER_POSTGRES_PASSWORD" in secret_file.lacking()
    before = secret_file.content()
    secret_file.complete()
    try:
        checkout = str(secret_file.checkout())
        require_own_containers()
        data = volumes.of_project(project())
        volumes.require_own(data, checkout)
        left = [one for one in data if not holds_no_data(one)]
        if is_new and left:
            shown = "\n".join(f"  {volume.shown}" for volume in left)
            raise SetupError(
                f"The passwords in {secret_file.DOTENV} are gone, and this checkout's data still has the old "
                f"ones:\n{shown}\nPut the file back; or give this data up with ./setup.sh --docker down "
                "--volumes."
            )
    except SetupError:
        secret_file.restore(before)
        raise


def require_own_containers() -> None:
    """Return if the containers of this name are this checkout's.

    Raises:
        SetupError: another one started them.
    """
    owner = compose.owner()
    if owner not in {None, CHECKOUT, secret_file.checkout()}:
        raise SetupError(
            f"The containers of this name were started from {owner}. Give this stack a name of its own: "
            "LARDER_PROJECT=NAME ./setup.sh.",
            code=2,
        )
