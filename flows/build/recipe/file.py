"""Reads a recipe: variables, base recipe and defaults are put in, and no file is needed any more."""

import logging
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError, nodes
from jinja2.sandbox import SandboxedEnvironment
from pydantic import BaseModel, ValidationError

from flows.build.recipe.document import Document, Place, dotted, read_yaml
from flows.build.recipe.schema import BUILD, Dataset, DatasetDefaults, Recipe
from larder.names import is_plain_name
from larder.refusal import Problem, RefusedError

log = logging.getLogger(__name__)

MAX_BYTES = 1_000_000
_NOTHING: Mapping[str, str] = MappingProxyType({})
_PREFIXES = ("BUILD_ENV_", "BUILD_ENGINE_")
_TEMPLATE = (
    nodes.And,
    nodes.Compare,
    nodes.CondExpr,
    nodes.Const,
    nodes.Filter,
    nodes.If,
    nodes.Keyword,
    nodes.Name,
    nodes.Not,
    nodes.Operand,
    nodes.Or,
    nodes.Output,
    nodes.TemplateData,
    nodes.Test,
)
_FILTERS = ("d", "default", "lower", "title", "trim", "upper")
_READ_ELSEWHERE = {"base_recipe", "vars"}


def read_recipe(
    path: Path, variables: Mapping[str, str] = _NOTHING, environ: Mapping[str, str] = _NOTHING
) -> Recipe:
    """The recipe in a file, whole: it needs no file and no variable any more.

    Args:
        variables: values for Jinja and for `version_env_var`; they come before the recipe's own `env`.
        environ: comes last, and gives Jinja only `BUILD_ENV_*` and `BUILD_ENGINE_*`.

    Raises:
        RefusedError: with everything that is wrong in it.
    """
    recipe = _with_base(path, {**_allowed(environ), **variables}, ())
    for stage in recipe.stage_config:
        if stage != BUILD:
            log.warning("%s: stage_config.%s is not used; %s is", path, stage, BUILD)
    return _with_versions(recipe, str(path), variables, environ)


def parse_recipe(text: str, origin: str) -> Recipe:
    """The recipe in a text that has neither variables nor a base, such as a published `recipe.lock.yml`.

    Raises:
        RefusedError: with everything that is wrong in it.
    """
    return _with_defaults(validate_recipe(read_yaml(text, origin), origin))


def validate_recipe(document: Document, origin: str) -> Recipe:
    """A recipe from plain values, as they stand.

    Raises:
        RefusedError: with everything that is wrong in it.
    """
    try:
        return Recipe.model_validate(document.content)
    except ValidationError as error:
        raise RefusedError(origin, *_problems(error, document)) from error


def _allowed(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name.startswith(_PREFIXES)}


def _with_base(path: Path, template_variables: Mapping[str, str], above: tuple[Path, ...]) -> Recipe:
    here, file = path.resolve(), str(path)
    text = _rendered(_text(path), file, template_variables)
    document = read_yaml(text, file)
    content = dict(document.content)
    base = content.pop("base_recipe", None)
    recipe = _with_defaults(validate_recipe(Document(content, document.lines), file))
    if base is None:
        return recipe
    line = document.line(("base_recipe",))
    if not isinstance(base, str):
        raise RefusedError(file, Problem("base_recipe", _shown(base), "the path of a recipe", line))
    if (path.parent / base).resolve() in (here, *above):
        raise RefusedError(
            file, Problem("base_recipe", f"{base}, which includes itself", "another recipe", line)
        )
    return _appended(recipe, _with_base(path.parent / base, template_variables, (here, *above)))


def _text(path: Path) -> str:
    file = str(path)
    if not path.exists():
        raise RefusedError(file, Problem("", "no such file", "the path of a recipe"))
    if not path.is_file():
        raise RefusedError(file, Problem("", "a folder, or no plain file", "the path of a recipe file"))
    try:
        with path.open("rb") as content:
            read = content.read(MAX_BYTES + 1)
        text = read.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RefusedError(file, Problem("", f"byte {error.start} that is not UTF-8", "UTF-8")) from error
    except OSError as error:
        raise RefusedError(file, Problem("", error.strerror or str(error), "a file to read")) from error
    if len(read) > MAX_BYTES:
        raise RefusedError(file, Problem("", "a larger file", f"at most {MAX_BYTES:,} bytes"))
    return text


def _rendered(text: str, file: str, variables: Mapping[str, str]) -> str:
    environment = SandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
    environment.globals.clear()
    try:
        template = environment.parse(text)
        for node in template.find_all(nodes.Node):
            if not isinstance(node, _TEMPLATE) or (
                isinstance(node, nodes.Filter) and node.name not in _FILTERS
            ):
                expected = f"only variables, comparisons, if, and the filters {', '.join(_FILTERS)}"
                found = getattr(node, "attr", None) or getattr(node, "name", None) or type(node).__name__
                raise RefusedError(file, Problem("", f"{found} in a template", expected, node.lineno))
        return environment.from_string(template).render(variables)
    except TemplateSyntaxError as error:
        raise RefusedError(
            file, Problem("", error.message or "", "a Jinja template", error.lineno)
        ) from error
    except (TemplateError, RecursionError, SyntaxError) as error:
        expected = "variables given by --var, or BUILD_ENV_* and BUILD_ENGINE_* in the environment"
        raise RefusedError(file, Problem("", str(error), expected)) from error


def _with_defaults(recipe: Recipe) -> Recipe:
    defaults = recipe.inputs.dataset_defaults or DatasetDefaults()
    datasets = tuple(dataset.with_defaults(defaults) for dataset in recipe.inputs.datasets)
    return _with_datasets(recipe, datasets)


def _with_datasets(recipe: Recipe, datasets: tuple[Dataset, ...]) -> Recipe:
    inputs = recipe.inputs.model_copy(update={"datasets": datasets, "dataset_defaults": None})
    return recipe.model_copy(update={"inputs": inputs})


def _appended(recipe: Recipe, base: Recipe) -> Recipe:
    own = {dataset.id for dataset in recipe.inputs.datasets}
    added = (dataset for dataset in base.inputs.datasets if dataset.id not in own)
    return _with_datasets(recipe, (*recipe.inputs.datasets, *added))


def _with_versions(
    recipe: Recipe, file: str, variables: Mapping[str, str], environ: Mapping[str, str]
) -> Recipe:
    datasets: list[Dataset] = []
    for at, dataset in enumerate(recipe.inputs.datasets):
        name = dataset.version_env_var or ""
        version = dataset.version or variables.get(name) or recipe.env.get(name) or environ.get(name)
        if version and not is_plain_name(version):
            place = f"inputs.datasets[{at}].version_env_var"
            raise RefusedError(file, Problem(place, f"{name}={version!r:.80}", "the plain name of a version"))
        pinned = {"version": version, "version_env_var": None}
        datasets.append(dataset.model_copy(update=pinned) if version else dataset)
    complete = _with_datasets(recipe, tuple(datasets))
    return validate_recipe(Document(complete.model_dump(mode="json")), file)


def _problems(error: ValidationError, document: Document) -> Iterator[Problem]:
    for one in error.errors(include_url=False):
        place = tuple(step for step in one["loc"] if step != "[key]")
        found, expected = _told(one, place)
        yield Problem(dotted(place), found, expected, document.line(place))


def _told(error: Any, place: Place) -> tuple[str, str]:
    context = error.get("ctx", {})
    match error["type"]:
        case "extra_forbidden":
            valid = _keys(place[:-1])
            close = get_close_matches(str(place[-1]), valid, n=1)
            hint = f"{close[0]!r}? Valid are " if close else "one of "
            return f"the unknown key {place[-1]!r}", hint + ", ".join(valid)
        case "missing":
            return "nothing", f"the key {place[-1]!r}"
        case "wrong":
            return context["found"], context["expected"]
        case _:
            said = error["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
            return _shown(error["input"]), said


def _shown(value: object) -> str:
    match value:
        case Mapping():
            return "a mapping"
        case list() | tuple():
            return "a list"
        case str() if len(value) > 60:
            return f"{value[:60]!r}… ({len(value)} characters)"
        case None:
            return "nothing"
        case _:
            return repr(value)


def _keys(place: Place) -> list[str]:
    """The keys that the recipe's format has at a place."""
    model: type[BaseModel] = Recipe
    for step in place:
        if step in model.model_fields:
            model = _model_in(model.model_fields[str(step)].annotation) or model
    extra = _READ_ELSEWHERE if model is Recipe else {"name"} if model is Dataset else set()
    return sorted({*model.model_fields, *extra})


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for inner in get_args(annotation) if (model := _model_in(inner))), None)
