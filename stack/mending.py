"""What hangs is started again, so that one `./setup.sh` is enough."""

from pathlib import Path

from stack import compose
from stack.steps import SetupError

REDIS_SECONDS = 10
REDIS_ASKED = (
    "REDISCLI_AUTH=$LEASES_PASSWORD timeout 5 redis-cli --user larder set larder:doctor 1 px 1000 "
    '|| echo "no answer within 5 s"'
)
LISTENERS = ("reactive-triggers", "task-run-recorder")
DEAF_MILLISECONDS = 120_000
LISTENERS_ASKED = (
    "export REDISCLI_AUTH=$PREFECT_PASSWORD\n"
    f"for group in {' '.join(LISTENERS)}; do\n"
    "timeout 5 redis-cli --user prefect xinfo consumers events $group"
    ' | grep --after-context 1 "^idle$" | grep "^[0-9]" | sed "s/^/$group /"\n'
    "done"
)
"""For how many milliseconds each reader of the events has asked for none, a line each; dead ones too."""


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


def wrong_with_services() -> str | None:
    """Which of Prefect's services does not read its events any more; None where none is known to."""
    try:
        said = compose.ask("exec", "-T", "redis", "sh", "-c", LISTENERS_ASKED, seconds=REDIS_SECONDS)
    except SetupError:
        return None
    readers = [line.partition(" ") for line in said.splitlines()]
    idle = {
        name: min(int(milliseconds) for group, _, milliseconds in readers if group == name)
        for name in {group for group, _, _ in readers}
    }
    deaf = sorted(name for name, milliseconds in idle.items() if milliseconds > DEAF_MILLISECONDS)
    return f"{', '.join(deaf)} read nothing for {DEAF_MILLISECONDS // 1000} s" if deaf else None


def _wrong_with(container: compose.Container) -> str | None:
    if container.health == "unhealthy":
        return "it was unhealthy"
    asked = {"redis": wrong_with_redis, "prefect-services": wrong_with_services}
    return asked[container.service]() if container.service in asked else None
