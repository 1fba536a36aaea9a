"""`setup.sh` once everything is installed."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from blocks.settings import CHECKOUT, SettingsError, home_folder
from flows.recipe import RecipeError
from stack import doctor, local
from stack.arguments import Arguments, parse
from stack.daemon import StartError
from stack.home import Home
from stack.local import Stack
from stack.steps import SetupError

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
    except (SettingsError, RecipeError) as error:
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
    if home.mode is None:
        raise SetupError(f"Nothing is started in {home.folder}: run ./setup.sh.")
    _require_local(arguments)
    return 0 if doctor.examine(local.existing(home)) else 1


def _down(home: Home, arguments: Arguments) -> int:
    if not home.folder.exists():
        print(f"Nothing to end: there is no {home.folder}.")
        return 0
    _require_local(arguments)
    with home.alone():
        ended = local.stop(home)
        if arguments.volumes:
            home.erase()
    print(f"Ended: {', '.join(ended)}." if ended else "Nothing was running.")
    print(f"The data in {home.folder} is {'removed' if arguments.volumes else 'kept'}.")
    return 0


COMMANDS: dict[str, Callable[[Home, Arguments], int]] = {
    "start": _start,
    "run": _run,
    "test": _test,
    "doctor": _doctor,
    "down": _down,
}


def _started(home: Home, arguments: Arguments) -> Stack:
    _require_local(arguments)
    began = time.monotonic()
    with home.alone():
        home.set_mode("local")
        stack = local.start(home)
    print(f"ready        after {time.monotonic() - began:.1f} s")
    return stack


def _require_local(arguments: Arguments) -> None:
    if arguments.mode == "docker":
        raise SetupError("This version has no Docker mode: run ./setup.sh without --docker.", code=2)


def _show(stack: Stack) -> None:
    env = stack.home.folder / "env"
    print(f"\nPrefect UI   {stack.ui_url}   (no login)")
    if stack.console_url:
        print(f"Store UI     {stack.console_url}   (log in with the two keys that {env} holds)")
    print(f"S3           {stack.settings.s3_endpoint_url}   bucket {stack.settings.bucket_name}")
    print(f"In a shell   . '{env}'")


def _fail(message: str, code: int) -> int:
    print(f"\nsetup.sh: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
