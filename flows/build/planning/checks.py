"""What a real build refuses before it begins."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from flows.build.input_files import READABLE
from flows.build.planning.read_options import option_problems
from flows.build.planning.versions import is_alias
from flows.build.recipe.rules import input_names
from flows.build.recipe.schema import CATALOG, LATEST, VERSION_PREV, CommandType, Recipe
from flows.tables.export import Export
from flows.tables.formats import EXPORT_OPTIONS, WRITABLE, Option
from flows.tables.lineage import check_models
from larder.refusal import Problem, RefusedError

PYTHON_RUN = re.compile(r"[A-Za-z_][\w.]*(:[A-Za-z_]\w*)?")
_SIMULATE = "(--simulate makes it up)"


def check_real(recipe: Recipe) -> None:
    """Refuse what only a simulated build can do; asks no catalog.

    Raises:
        RefusedError: with everything that stands in the way of a real build.
    """
    problems = [*_inputs(recipe), *_build(recipe), *_exports(recipe)]
    if problems:
        raise RefusedError(f"recipe of {recipe.product}", *problems)


def _inputs(recipe: Recipe) -> Iterator[Problem]:
    for at, dataset in enumerate(recipe.inputs.datasets):
        place = f"inputs.datasets[{at}]"
        if dataset.source not in (None, CATALOG):
            yield Problem(f"{place}.source", f"{dataset.source}", f"{CATALOG} {_SIMULATE}")
        if dataset.version not in (None, LATEST) and is_alias(str(dataset.version)):
            found = f"{dataset.version}, which names one version today and another one tomorrow"
            yield Problem(f"{place}.version", found, f"{LATEST}, or one version")
        if dataset.preprocessor:
            yield Problem(f"{place}.preprocessor", dataset.preprocessor.function, f"none {_SIMULATE}")
        if dataset.file_type not in (None, *READABLE):
            yield Problem(
                f"{place}.file_type", f"{dataset.file_type}", f"{' or '.join(READABLE)} {_SIMULATE}"
            )
        if dataset.source in (None, CATALOG):
            yield from option_problems(place, dataset.file_type, dataset.custom)
        variable = dataset.version_env_var
        if dataset.version is None and variable not in (None, VERSION_PREV):
            expected = f"its value: --var {variable}=VERSION, the recipe's env, or the environment"
            yield Problem(f"{place}.version_env_var", f"{variable}, which is not set", expected)


def _values(place: str, custom: Mapping[str, Any], options: Mapping[str, Option]) -> Iterator[Problem]:
    for name in sorted(custom.keys() & options.keys()):
        if not options[name].allows(custom[name]):
            yield Problem(f"{place}.{name}", repr(custom[name]), options[name].valid)


def _build(recipe: Recipe) -> Iterator[Problem]:
    build, place = recipe.build, "stage_config.builds.build"
    for name in ("tables", "files"):
        if getattr(build, name) and not build.commands:
            yield Problem(
                f"{place}.{name}", name, f"commands that {'write' if name == 'tables' else 'use'} them"
            )
    for at, command in enumerate(build.commands):
        if command.command_type is CommandType.PYTHON and not PYTHON_RUN.fullmatch(command.run.strip()):
            yield Problem(f"{place}.commands[{at}].run", command.run, "module:function, or module")
    for name in sorted(set(build.tables) & set(build.models)):
        yield Problem(f"{place}.tables", f"{name}, which a model is called too", "names of their own")
    yield from check_models(build.models, input_names(recipe.inputs.datasets))


def _format(place: str, export: Export) -> Iterator[Problem]:
    if export.format not in WRITABLE:
        yield Problem(f"{place}.format", export.format, f"{' or '.join(WRITABLE)} {_SIMULATE}")
        return
    options = EXPORT_OPTIONS.get(export.format, {})
    if unknown := sorted(export.custom.keys() - options.keys()):
        valid = ", ".join(sorted(options)) or "none"
        yield Problem(f"{place}.custom", ", ".join(unknown), f"{valid} for {export.format} {_SIMULATE}")
    yield from _values(f"{place}.custom", export.custom, options)


def _exports(recipe: Recipe) -> Iterator[Problem]:
    exports = recipe.exports.datasets if recipe.exports else ()
    tables = (*recipe.build.models, *recipe.build.tables) or input_names(recipe.inputs.datasets)
    times = Counter(export.file_name for export in exports)
    for at, export in enumerate(exports):
        place = f"exports.datasets[{at}]"
        yield from _format(place, export)
        if times[export.file_name] > 1:
            found = f"{export.file_name}, which {times[export.file_name]} exports are called"
            yield Problem(f"{place}.filename", found, f"a file name of its own {_SIMULATE}")
        if export.name not in tables:
            ambiguous = any(name.startswith(f"{export.name}@") for name in tables)
            found = f"{export.name}, which several inputs are called" if ambiguous else export.name
            expected = (
                "an import_as for each of them" if ambiguous else f"one of {', '.join(tables)} {_SIMULATE}"
            )
            yield Problem(f"{place}.name", found, expected)
