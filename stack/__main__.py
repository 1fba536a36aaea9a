"""`setup.sh` once everything is installed."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from larder.refusal import RefusedError
from larder.settings import CHECKOUT, SettingsError, home_folder
from stack import compose, docker, doctor, local, secret_file
from stack.arguments import Arguments, parse
from stack.daemon import StartError
from stack.docker import Containers
from stack.home import Home
from stack.local import Stack
from stack.steps import SetupError

DOCKER, LOCAL = "docker", "local"
ALL_TESTS = ("-n", "2", "--dist", "loadfile")
"""Two files of tests at a time, beside the same servers."""


def main() -> int:
    """Does what the words say; the exit code."""
    arguments = parse(sys.argv[1:])
    home = Home(home_folder())
    os.environ["LARDER_HOME"] = str(home.folder)
    try:
        return COMMANDS[arguments.command](home, arguments)
    except SetupError as error:
        return _fail(str(error), error.code)
    except (SettingsError, RefusedError) as error:
        return _fail(str(error), 2)
    except (StartError, OSError) as error:
        return _fail(str(error), 1)
    except KeyboardInterrupt:
        return 130


def _start(home: Home, arguments: Arguments) -> int:
    _show(_started(home, arguments))
    return 0


def _run(home: Home, arguments: Arguments) -> int:
    recipe = Path(arguments.rest[0]).absolute() if arguments.rest else CHECKOUT / "recipe.yml"
    if not recipe.is_file():
        raise SetupError(f"There is no recipe {recipe}.", code=2)
    stack = _started(home, arguments)
    larder = Path(sys.executable).with_name("larder")
    environment = {**os.environ, **stack.environment}
    code = subprocess.run([larder, "build", recipe, "--on-worker"], check=False, env=environment).returncode
    _show(stack)
    return code


def _test(_: Home, arguments: Arguments) -> int:
    words = arguments.rest or ALL_TESTS
    return subprocess.run([sys.executable, "-m", "pytest", *words], check=False, cwd=CHECKOUT).returncode


def _doctor(home: Home, arguments: Arguments) -> int:
    _mode(home, arguments)
    return 0 if doctor.examine(doctor.running(home)) else 1


def _down(home: Home, arguments: Arguments) -> int:
    if not home.folder.exists() and arguments.mode != DOCKER:
        print(f"Nothing to end: there is no {home.folder}.")
        return 0
    with home.alone():
        ended: list[str] = []
        data = [str(home.folder)]
        if _may_have_containers(home, arguments):
            ended, volumes = docker.stop(home, volumes=arguments.volumes)
            data += [f"Docker's volume {name}" for name in volumes]
        if home.mode in {None, LOCAL}:
            ended += local.stop(home)
        if arguments.volumes:
            home.erase()
    print(f"Ended: {', '.join(ended)}." if ended else "Nothing was running.")
    print(f"The data in {', '.join(data)} is {'removed' if arguments.volumes else 'kept'}.")
    return 0


def _may_have_containers(home: Home, arguments: Arguments) -> bool:
    _refuse_other_mode(home, arguments)
    if DOCKER in {home.mode, arguments.mode}:
        return True
    return home.mode is None and secret_file.DOTENV.exists() and compose.engine_answers()


COMMANDS: dict[str, Callable[[Home, Arguments], int]] = {
    "start": _start,
    "run": _run,
    "test": _test,
    "doctor": _doctor,
    "down": _down,
}


def _started(home: Home, arguments: Arguments) -> Stack | Containers:
    began = time.monotonic()
    with home.alone():
        mode = _mode(home, arguments)
        home.set_mode(mode)
        stack: Stack | Containers = docker.start(home) if mode == DOCKER else local.start(home)
    print(f"ready        after {time.monotonic() - began:.1f} s", flush=True)
    return stack


def _mode(home: Home, arguments: Arguments) -> str:
    """The mode that is asked for, else the one of the last start, else what this machine has."""
    _refuse_other_mode(home, arguments)
    mode = arguments.mode or home.mode or (DOCKER if compose.engine_answers() else LOCAL)
    if mode == DOCKER:
        compose.require_engine()
    return mode


def _refuse_other_mode(home: Home, arguments: Arguments) -> None:
    if home.mode and arguments.mode not in {None, home.mode}:
        raise SetupError(
            f"{home.folder} is in {home.mode} mode, and --{arguments.mode} asks for the other one: end what "
            "runs with ./setup.sh down first. Docker and local mode keep their data apart.",
            code=2,
        )


def _show(stack: Stack | Containers) -> None:
    env = stack.home.folder / "env"
    in_docker = isinstance(stack, Containers)
    grafana_url = stack.grafana_url if isinstance(stack, Containers) else None
    login = f"log in with LARDER_API_LOGIN of {secret_file.DOTENV}" if in_docker else "no login"
    print(f"\nPrefect UI   {stack.ui_url}   ({login})")
    if stack.console_url:
        print(f"Store UI     {stack.console_url}   (log in with the two S3 keys that {env} holds)")
    if grafana_url:
        print(f"Grafana      {grafana_url}   (larder, LARDER_GRAFANA_PASSWORD of {secret_file.DOTENV})")
    found = stack.environment
    print(f"S3           {found.get('LARDER_S3_ENDPOINT_URL', 'AWS')}   bucket {found['LARDER_BUCKET']}")
    print(f"In a shell   . '{env}'")


def _fail(message: str, code: int) -> int:
    print(f"\nsetup.sh: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
