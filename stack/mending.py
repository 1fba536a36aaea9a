"""What hangs is started again, so that one `./setup.sh` is enough."""

from pathlib import Path

from stack import compose
from stack.steps import SetupError

REDIS_SECONDS = 10
REDIS_ASKED = (
    "REDISCLI_AUTH=$LEASES_PASSWORD timeout 5 redis-cli --user larder set larder:doctor 1 px 1000 "
    '|| echo "no answer within 5 s"'
)


def mend(log: Path) -> list[str]:
    """Starts again what runs and is not well; what was done, in a few words each."""
    done = []
    for container in compose.containers():
        if container.state == "paused":
            compose.tell(log, "unpause", container.service)
            done.append(f"{container.service} was paused and goes on")
        elif container.state == "running" and (found := _wrong_with(container)):
            compose.tell(log, "restart", "--no-deps", "--timeout", "5", container.service)
            done.append(f"{container.service} was started again ({found})")
    return done


def wrong_with_redis() -> str | None:
    """What keeps Redis from taking leases, in its own words; None where it takes them."""
    try:
        said = compose.ask("exec", "-T", "redis", "sh", "-c", REDIS_ASKED, seconds=REDIS_SECONDS).strip()
    except SetupError as error:
        return str(error).strip().splitlines()[-1]
    return None if said == "OK" else said


def _wrong_with(container: compose.Container) -> str | None:
    if container.health == "unhealthy":
        return "it was unhealthy"
    return wrong_with_redis() if container.service == "redis" else None
