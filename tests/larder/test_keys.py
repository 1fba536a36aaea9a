"""Keys and fingerprints: what counts, what does not, and that they are the same everywhere."""

import gc
import importlib
import json
import math
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows.build import definitions
from flows.build.recipe.lock import LockedDataset
from flows.build.recipe.schema import Dataset
from flows.tables.file_types import FileType
from flows.tables.table import Column, Table
from larder import fingerprint, keys, syntax
from larder.artifacts import Artifact, Output
from larder.definition import Definition
from larder.fingerprint import Fingerprint, fingerprint_of
from larder.keys import NoKeyError, canonical, digest
from larder.lookup import Address, address_of
from larder.settings import CHECKOUT

ARTIFACT = Artifact(
    object_name="artifacts/parks/0123456789ab-parks.parquet",
    sha256="a" * 64,
    bytes=12,
    etag='"e"',
    media_type="application/vnd.apache.parquet",
    rows=3,
)
TABLE = Table(file=ARTIFACT, rows=3, columns=(Column(name="id", type="VARCHAR"),))
DATASET = LockedDataset(source="catalog", id="parks", version="24Q4", file_type=FileType.CSV, made_up=False)
BUILD = replace(definitions.BUILD, fingerprint="f" * 64)
LOAD = replace(definitions.LOAD, fingerprint="f" * 64)
LABELS = {"product": "green", "version": "24Q4", "recipe_hash": "c" * 64}
PYTHONS = ("3.11", "3.12", "3.13")
DEFINITIONS = [one for one in vars(definitions).values() if isinstance(one, Definition)]

on_any_machine = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def ask(definition: Definition[Any], label: str | None = None, **arguments: object) -> Address:
    return address_of(definition, label, arguments, LABELS, "a run", {})


def shuffled(value: object) -> object:
    """The same content with the keys of all mappings in reverse order."""
    match value:
        case dict():
            return {name: shuffled(value[name]) for name in reversed(value)}
        case list():
            return [shuffled(item) for item in value]
        case _:
            return value


def test_a_builds_key_changes_only_on_purpose() -> None:
    question = ask(BUILD, version="24Q4", env={}, inputs={"parks": TABLE})
    assert question.key == "d763154c0428726b857cf8654f451d9156df0bb77373ca4f0dd219d83aab9073"
    assert question.object_name == "results/green/build-d763154c0428726b.json"


def test_a_loads_key_changes_only_on_purpose() -> None:
    question = ask(LOAD, "parks", dataset=DATASET)
    assert question.key == "c622b803f4f79f3316f9617abe9be709bfde15501dd5af484ec0595cf22edd06"
    assert question.object_name == "results/_inputs/parks/24Q4-c622b803f4f79f33.json"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": [1, 2.5, True, None], "a": "ü\n"}, '{"a":"ü\\n","b":[1,2.5,true,null]}'),
        (date(2024, 2, 29), '"2024-02-29"'),
        (("x", FileType.CSV), '["x","csv"]'),
        (ARTIFACT, '{"bytes":12,"sha256":"' + "a" * 64 + '"}'),
        (
            DATASET,
            '{"custom":{},"file_type":"csv","id":"parks","made_up":false,"source":"catalog","version":"24Q4"}',
        ),
    ],
)
def test_canonical_json_changes_only_on_purpose(value: object, text: str) -> None:
    assert canonical(value) == text


@on_any_machine
@given(json_values)
def test_canonical_json_loses_nothing_and_ignores_the_order_of_keys(value: object) -> None:
    assert json.loads(canonical(value)) == value
    assert digest(shuffled(value)) == digest(value)


@on_any_machine
@given(json_values, json_values)
def test_different_content_has_different_digests(one: object, other: object) -> None:
    assert (digest(one) == digest(other)) == (
        json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    )


@pytest.mark.parametrize("wrap", [lambda value: value, lambda value: {"deep": [value]}], ids=["bare", "deep"])
@pytest.mark.parametrize(
    ("value", "said"),
    [
        (math.nan, "float has no canonical form: nan"),
        (math.inf, "float has no canonical form: inf"),
        ({1, 2}, "set has no canonical form"),
        (b"bytes", "bytes has no canonical form"),
        (object(), "object has no canonical form"),
        (Path("a.csv"), "local path has no content that could count: a.csv"),
        ({1: "one"}, "mapping's key must be text to count in a key, not 1"),
        ("\udc80", "text that UTF-8 cannot hold has no canonical form: '\\udc80'"),
    ],
)
def test_what_has_no_canonical_form_is_refused(
    value: object, said: str, wrap: Callable[[object], object]
) -> None:
    with pytest.raises(NoKeyError, match=re.escape(said)):
        digest(wrap(value))
    with pytest.raises(NoKeyError, match=re.escape(said)):
        ask(BUILD, inputs=wrap(value))


def test_fields_that_are_none_do_not_count() -> None:
    assert canonical(Dataset(id="parks")) == canonical(Dataset(id="parks", archive_date=None))
    assert "null" not in canonical(Dataset(id="parks"))
    assert "null" in canonical({"version": None})


def test_an_upstream_result_counts_by_its_digest() -> None:
    assert keys.argument({"parks": TABLE}) == {"parks": digest(TABLE)}


@pytest.mark.parametrize(
    ("changed", "counts"),
    [
        ({"sha256": "b" * 64}, True),
        ({"bytes": 13}, True),
        ({"object_name": "artifacts/other/parks/0123456789ab-parks.parquet"}, False),
        ({"etag": '"other"'}, False),
        ({"media_type": "text/plain"}, False),
    ],
)
def test_a_file_counts_by_its_content_alone(changed: Mapping[str, Any], counts: bool) -> None:
    other = TABLE.model_copy(update={"file": ARTIFACT.model_copy(update=changed)})
    asked = [ask(BUILD, inputs={"parks": table}).key for table in (TABLE, other)]
    assert (asked[0] != asked[1]) == counts


def test_what_a_definition_declares_outside_the_key_does_not_count() -> None:
    outside = replace(LOAD, outside_key=frozenset({"seconds"}))
    asked = [ask(outside, "parks", dataset=DATASET, seconds=one).key for one in (1, {"not", "canonical"})]
    assert asked[0] == asked[1] == ask(LOAD, "parks", dataset=DATASET).key


def test_a_label_counts_only_where_the_definition_says_so() -> None:
    named = replace(LOAD, label_in_key=True)
    first, second = (ask(LOAD, label, dataset=DATASET) for label in ("one", "two"))
    assert first.key == second.key
    first, second = (ask(named, label, dataset=DATASET) for label in ("one", "two"))
    assert first.key != second.key
    assert first.object_name.startswith("results/_inputs/parks/24Q4-one-")


@pytest.mark.parametrize("changed", [{"stage": "other"}, {"folder": "elsewhere"}, {"fingerprint": "e" * 64}])
def test_stage_folder_and_fingerprint_count(changed: Mapping[str, Any]) -> None:
    assert ask(replace(BUILD, **changed), version="1").key != ask(BUILD, version="1").key


STAGE = """
\"\"\"A stage.\"\"\"
import json
from sample.helper import double
from sample import constants as fixed
from .near import here

FORMAT = f"{fixed.SIZE:>{4}}"  # wide enough

def run(number: int) -> int:
    '''Twice as much.'''
    from sample.late import shift

    return shift(double(number)) + here
"""
SAMPLE = {
    "__init__.py": "",
    "stage.py": STAGE,
    "helper.py": "from sample.deep import factor\n\ndef double(number):\n    return factor * number\n",
    "deep.py": "factor = 2\n",
    "constants.py": "SIZE = 3\n",
    "near.py": "from . import nearer\nhere = nearer.where\n",
    "nearer.py": "where = 0\n",
    "late.py": "def shift(number):\n    return number + 1\n",
    "unrelated.py": "nothing = 0\n",
}


@pytest.fixture
def fingerprint_of_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Fingerprint]]:
    """The fingerprint of `sample.stage.run` in a package of these files."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def fresh(files: Mapping[str, str], *libraries: str) -> Fingerprint:
        forget()
        shutil.rmtree(tmp_path / "sample", ignore_errors=True)
        (tmp_path / "sample").mkdir()
        for name, text in files.items():
            (tmp_path / "sample" / name).write_text(text)
        importlib.invalidate_caches()
        return fingerprint_of(importlib.import_module("sample.stage").run, libraries)

    def forget() -> None:
        for name in [name for name in sys.modules if name.partition(".")[0] == "sample"]:
            del sys.modules[name]

    yield fresh
    forget()


def test_a_fingerprint_names_every_module_that_the_stage_imports(fingerprint_of_sample) -> None:
    assert set(fingerprint_of_sample(SAMPLE).modules) == {
        "sample",
        *(f"sample.{name}" for name in ("stage", "helper", "deep", "constants", "near", "nearer", "late")),
    }


@pytest.mark.parametrize(
    "changed",
    [
        {"stage.py": STAGE.replace("# wide enough", "")},
        {"stage.py": STAGE.replace('"""A stage."""', '"""The stage: it runs."""')},
        {"stage.py": STAGE.replace('"""A stage."""\n', "")},
        {"stage.py": STAGE.replace("Twice as much.", "Two times.")},
        {
            "stage.py": STAGE.replace(
                "return shift(double(number)) + here",
                "return (\n        shift(double(number))\n        + here\n    )",
            )
        },
        {"deep.py": "factor = 2\n'What numbers are multiplied by.'\n"},
        {"deep.py": "# how much\n\n\nfactor = (2)\n"},
        {"deep.py": "factor = 0x2\n"},
        {"unrelated.py": "nothing = 1\n"},
    ],
    ids=[
        "comment",
        "docstring",
        "no docstring",
        "function's docstring",
        "line breaks",
        "field's docstring",
        "parentheses",
        "spelling of a number",
        "another module",
    ],
)
def test_what_is_not_code_leaves_the_fingerprint(fingerprint_of_sample, changed: Mapping[str, str]) -> None:
    assert fingerprint_of_sample({**SAMPLE, **changed}) == fingerprint_of_sample(SAMPLE)


@pytest.mark.parametrize(
    ("module", "before", "after"),
    [
        ("stage", "+ here", "- here"),
        ("stage", ">{4}", ">{5}"),
        ("stage", "number: int", "number: float"),
        ("helper", "factor * number", "number * factor"),
        ("deep", "2", "2.0"),
        ("deep", "2", "'2'"),
        ("constants", "3", "4"),
        ("near", "nearer.where", "-nearer.where"),
        ("nearer", "0", "1"),
        ("late", "number + 1", "number + 2"),
    ],
)
def test_changed_code_of_an_imported_module_counts(
    fingerprint_of_sample, module: str, before: str, after: str
) -> None:
    file = f"{module}.py"
    changed = fingerprint_of_sample({**SAMPLE, file: SAMPLE[file].replace(before, after)})
    original = fingerprint_of_sample(SAMPLE)
    assert changed.digest != original.digest
    differing = {name for name in original.modules if original.modules[name] != changed.modules[name]}
    assert differing == {f"sample.{module}"}


def test_a_named_librarys_version_counts(fingerprint_of_sample, tmp_path: Path) -> None:
    seen = []
    for version in ("1.0", "1.1"):
        described = tmp_path / "sample_library-1.dist-info"
        described.mkdir(exist_ok=True)
        (described / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: sample-library\nVersion: {version}\n"
        )
        seen.append(fingerprint_of_sample(SAMPLE, "sample-library"))
    assert [one.libraries for one in seen] == [{"sample-library": "1.0"}, {"sample-library": "1.1"}]
    assert seen[0].digest != seen[1].digest
    assert seen[0].modules == seen[1].modules


def test_a_named_library_that_is_not_installed_is_refused(fingerprint_of_sample) -> None:
    with pytest.raises(NoKeyError, match=r"'no-such-library' .* not installed"):
        fingerprint_of_sample(SAMPLE, "no-such-library")


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda one: one.function_name)
def test_the_machinery_is_in_no_stages_fingerprint(definition: Definition[Any]) -> None:
    modules = definition.code.modules
    assert definition.function.__module__ in modules
    machinery = {
        "flows.build.recipe.schema",
        "flows.build.recipe.file",
        "flows.build.recipe.document",
    }
    assert not machinery & set(modules)
    assert not [name for name in modules if not name.startswith(("flows.tables", "flows.build"))]


def test_a_stage_counts_the_modules_that_it_stands_on() -> None:
    modules = fingerprint_of(definitions.PACKAGE.function).modules
    assert {"flows.build.stages.package", "flows.tables.exports", "flows.tables.table"} <= set(modules)
    assert "flows.build.stages.plan" not in modules


@pytest.fixture
def busy_collector() -> Iterator[None]:
    """Python hands over to another thread in the midst of whatever makes many objects."""

    def hand_over(phase: str, info: object) -> None:
        time.sleep(0)

    before = gc.get_threshold()
    gc.set_threshold(50)
    gc.callbacks.append(hand_over)
    yield
    gc.callbacks.remove(hand_over)
    gc.set_threshold(*before)


def test_many_threads_come_to_the_same_fingerprint(busy_collector: None) -> None:
    def found(_: int) -> Fingerprint:
        for remembered in (fingerprint._fingerprint, syntax.read_module):
            remembered.cache_clear()
        return fingerprint_of(definitions.BUILD.function)

    with ThreadPoolExecutor(4) as threads:
        assert len({one.digest for one in threads.map(found, range(8))}) == 1


def without_source() -> Callable[..., Output]:
    """A function that was made from a text."""
    made: dict[str, Any] = {"Output": Output, "__name__": "made_from_a_text"}
    exec("def made(number: int) -> Output: ...", made)
    return made["made"]


def test_a_function_without_source_needs_a_fingerprint_given() -> None:
    lonely = Definition(stage="lonely", function=without_source(), folder="lonely")
    with pytest.raises(NoKeyError, match="give its definition a fingerprint of its own"):
        ask(lonely, number=1)
    first, second = (replace(lonely, fingerprint=text) for text in ("v1", "v2"))
    assert ask(first, number=1).key == ask(first, number=1).key != ask(second, number=1).key


SYNTAX = '''
import asyncio
from typing import Generic, TypeVar

T = TypeVar("T")
WIDTH, NAME = 7, "x"
TEXTS = [f"", f"{WIDTH}", f"a{{b}}{WIDTH!r:>{WIDTH}}c" "d" f"e", f"{NAME=}", f"{WIDTH:}", f"{{}}"]
MORE = f"{NAME!s}\\n" "\\u00fc" f"{'a' if WIDTH else 'b'}{date:%Y-%m}{{{WIDTH:{NAME}.{WIDTH}}}}", rb"x" b"y"
NUMBERS = (1_000, 0xFF, 1e3, 1j, -1, 10**20, 1.5e-7, ...)


class Box(Generic[T]):
    """A box."""

    size: int = 3
    "How large."

    @property
    def half(self) -> float: return self.size / 2


def walk(first, /, second=1, *rest, third: int = 2, **others):
    """Everything at once."""
    global WIDTH
    match first:
        case {"kind": "a", **left} if left: pass
        case [1, *_] | (2 | 3): return lambda x, *y: (x, *y)
        case Box(size=0) as box: del box
        case _: assert first, "never"
    while (size := second) > 1:
        second -= 1
        if size % 2: continue
        else: break
    else:
        raise ValueError from None
    try:
        with open("a") as a, open("b"): yield from {*a}
    except* (OSError, ValueError) as group:
        print(group)
    finally:
        [x async for x in rest] if False else {k: v for k, v in others.items()}
    return not (first is None) and first[1:2, ::3] @ second


async def later(items):
    async with asyncio.timeout(1):
        return [await item async for item in items]
'''
SCRIPT = """
import json, sys
sys.path[:0] = [sys.argv[1], sys.argv[2]]
from larder import fingerprint, keys
found = {}
uncounted = tuple(json.loads(sys.argv[4]))
for name in json.loads(sys.argv[3]):
    found[name] = fingerprint._modules(name, None, uncounted)
found["canonical"] = keys.canonical({"b": [1, 2.5, 1e22, 1e-7, True, None], "a": "\\u00fc\\n\\u2028"})
print(json.dumps(found, sort_keys=True))
"""


def interpreter(version: str) -> str | None:
    """A Python of this version."""
    pyenv = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    candidates = [*map(str, pyenv), shutil.which(f"python{version}")]
    for candidate in filter(None, candidates):
        check = [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        if subprocess.run(check, check=False, capture_output=True, text=True).stdout.strip() == version:
            return candidate
    return None


def with_pydantic(version: str, folder: Path) -> str:
    """A Python of this version that can import `larder.keys`; skips the test where there is none."""
    if version == "{}.{}".format(*sys.version_info):
        return sys.executable
    python = interpreter(version)
    if python is None:
        pytest.skip(f"no Python {version} on the PATH or below ~/.pyenv")
    locked = re.search(r"^pydantic==\S+", (CHECKOUT / "requirements.lock").read_text(), re.MULTILINE)
    assert locked
    made = folder / "venv" / "bin" / "python"
    if shutil.which("uv"):
        commands = [
            ["uv", "venv", "-q", "--python", python, folder / "venv"],
            ["uv", "pip", "install", "-q", "--python", made, locked[0]],
        ]
    else:
        commands = [[python, "-m", "venv", folder / "venv"], [made, "-m", "pip", "install", "-q", locked[0]]]
    for command in commands:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            pytest.skip(f"Python {version} cannot be given pydantic: {done.stderr[-300:]}")
    return str(made)


@pytest.mark.parametrize("version", PYTHONS)
def test_digests_of_code_are_the_same_on_every_python(version: str, tmp_path: Path) -> None:
    (tmp_path / "syntax.py").write_text(SYNTAX)
    modules = ["syntax", *sorted({one.function.__module__ for one in DEFINITIONS}), "stack.__main__"]
    command = [
        with_pydantic(version, tmp_path),
        "-c",
        SCRIPT,
        CHECKOUT,
        tmp_path,
        json.dumps(modules),
        json.dumps(definitions.UNCOUNTED),
    ]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.pop("canonical") == '{"a":"ü\\n\u2028","b":[1,2.5,1e+22,1e-07,true,null]}'
    syntax = "7e29abb0c4a76955c2eb364369b5ed8da4912dc704f4dd977d1c0a9dba4a2edb"
    assert found.pop("syntax") == {"syntax": syntax}
    for definition in DEFINITIONS:
        assert found[definition.function.__module__] == definition.code.modules
