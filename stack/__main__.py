"""`setup.sh` once everything is installed."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from larder.refusal import RefusedError
from larder.settings import CHECKOUT, SettingsError, home_folder
from stack import compose, docker, doctor, local, removal, secret_file
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
    """Becomes pytest, which hears itself of Ctrl-C and ends what it started."""
    words = arguments.rest or ALL_TESTS
    os.chdir(CHECKOUT)
    os.execv(sys.executable, [sys.executable, "-m", "pytest", *words])  # noqa: S606


def _doctor(home: Home, arguments: Arguments) -> int:
    _mode(home, arguments)
    return 0 if doctor.examine(doctor.running(home), as_json=arguments.as_json) else 1


def _login(home: Home, arguments: Arguments) -> int:
    _mode(home, arguments)
    stack = doctor.running(home)
    for page, words in stack.logins.items():
        print(f"{page:<12} {words}")
    if not stack.logins:
        print("No page asks for a login.")
    return 0


def _down(home: Home, arguments: Arguments) -> int:
    if not home.folder.exists() and not _may_have_containers(home, arguments):
        print(f"Nothing to end: there is no {home.folder}.")
        return 0
    with home.alone():
        there = removal.what_is_there() if _may_have_containers(home, arguments) else None
        data = [home.shown] if home.mode != DOCKER else []
        data += [volume.shown for volume in there.volumes] if there else []
        if arguments.volumes:
            _confirm(data, arguments)
        ended: list[str] = list(there.services) if there else []
        if there:
            removal.stop(home, there, with_data=arguments.volumes)
        if home.mode in {None, LOCAL}:
            ended += local.stop(home)
        if arguments.volumes:
            home.erase()
    print(f"Ended: {', '.join(ended)}." if ended else "Nothing was running.")
    print("\n  ".join([f"The data is {'removed' if arguments.volumes else 'kept'}:", *data]) if data else "")
    return 0


def _confirm(data: list[str], arguments: Arguments) -> None:
    print("\n  ".join(["This removes for ever:", *data]), flush=True)
    if arguments.yes:
        return
    if not sys.stdin.isatty():
        raise SetupError("Nothing was removed. In a script say so: ./setup.sh down --volumes --yes", code=2)
    if input("Remove it? [y/N] ").strip().lower() not in {"y", "yes"}:
        raise SetupError("Nothing was removed.")


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
    "login": _login,
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
    grafana_url = stack.grafana_url if isinstance(stack, Containers) else None
    pages = {"Prefect UI": stack.ui_url, "Store UI": stack.console_url, "Grafana": grafana_url}
    print()
    for page, url in pages.items():
        if url:
            print(f"{page:<12} {url}")
    if stack.logins:
        print("Logins       ./setup.sh login   prints what to type, each page's on one line to copy")
    found = stack.environment
    print(f"S3           {found.get('LARDER_S3_ENDPOINT_URL', 'AWS')}   bucket {found['LARDER_BUCKET']}")
    print(f"In a shell   . '{env}'")


def _fail(message: str, code: int) -> int:
    print(f"\nsetup.sh: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
