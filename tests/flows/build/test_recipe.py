import re
from pathlib import Path

import pytest
import yaml

from flows.build.recipe.file import parse_recipe, read_recipe
from flows.build.recipe.rules import input_names
from flows.build.recipe.schema import (
    BumpLatestRelease,
    PinToSourceDataset,
    Recipe,
    is_floating,
    real,
    simulated,
)
from larder.refusal import RefusedError
from larder.settings import CHECKOUT
from tests.shared import RECIPES

MINIMAL = """\
name: Thing
product: thing
version: 24Q4
inputs:
  datasets:
    - id: a
      version: 1
"""


@pytest.fixture
def write(tmp_path):
    def write(text, name="recipe.yml"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.fixture
def refused(write):
    def refused(text, **keywords):
        with pytest.raises(RefusedError) as caught:
            read_recipe(write(text), **keywords)
        return caught.value

    return refused


def recipe(**changes):
    content = {**yaml.load(MINIMAL, yaml.BaseLoader), **changes}
    return Recipe.model_validate({key: value for key, value in content.items() if value is not None})


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipes_in_daily_use_parse_as_they_are_and_travel_as_json(path):
    read = read_recipe(path)
    assert Recipe.model_validate(read.model_dump(mode="json")) == read
    assert Recipe.model_validate_json(read.model_dump_json()) == read


def test_the_shipped_recipe_is_simulated_and_takes_about_ten_seconds():
    read = read_recipe(CHECKOUT / "recipe.yml")
    assert read.simulate is not None
    assert 5 <= sum(seconds for _, seconds in read.simulate.seconds) <= 12


def test_scalars_are_text_and_pydantic_converts(write):
    read = read_recipe(
        write(
            "name: 24.10\nproduct: 010\nversion: 1e3\nbranch: no\nbuild_name: null\n"
            "inputs:\n  missing_versions_strategy: ~\n"
            "  datasets:\n  - {id: a, version: 2024-01-05, url: 'null'}\n"
            "simulate: {seconds: {load: 3}}\n"
        )
    )
    assert (read.name, read.product, read.version, read.branch) == ("24.10", "010", "1e3", "no")
    assert read.build_name is None
    assert read.inputs.missing_versions_strategy is None
    assert (read.inputs.datasets[0].version, read.inputs.datasets[0].url) == ("2024-01-05", "null")
    assert read.simulate.seconds.load == 3


def test_below_custom_yaml_keeps_its_meaning(write):
    custom = "{header: False, layers: [1, 2.5, null], at: {deep: true}, text: 'true', day: 2024-01-05}"
    read = read_recipe(write(MINIMAL + f"custom: {custom}\n"))
    assert read.custom == {
        "header": False,
        "layers": [1, 2.5, None],
        "at": {"deep": True},
        "text": "true",
        "day": "2024-01-05",
    }


def test_a_key_given_twice_warns_and_the_last_counts(write, caplog):
    assert read_recipe(write(MINIMAL + "version: 25Q1\n")).version == "25Q1"
    assert "version (line 8) is given twice" in caplog.text


def test_an_unused_stage_warns(write, caplog):
    read_recipe(write(MINIMAL + "stage_config: {builds.biuld: {env: {A: 1}}}\n"))
    assert "stage_config.builds.biuld is not used" in caplog.text


def test_older_words_mean_the_newer_ones(write):
    older = MINIMAL.replace("- id: a", "- name: a") + "vars: {A: 1, B: 2}\nenv: {B: 3}\n"
    read = read_recipe(write(older))
    assert read.inputs.datasets[0].id == "a"
    assert read.env == {"A": "1", "B": "3"}


def test_defaults_are_put_in_and_do_not_replace_what_is_said(write):
    read = read_recipe(
        write(
            MINIMAL.replace(
                "  datasets:", "  dataset_defaults: {file_type: gdb, custom: {x: 1}}\n  datasets:"
            )
            + "    - {id: b, file_type: csv, source: elsewhere, custom: {y: 2}}\n"
        )
    )
    first, second = read.inputs.datasets
    assert (first.source, first.file_type, first.custom) == ("catalog", "gdb", {"x": 1})
    assert (second.source, second.file_type, second.custom) == ("elsewhere", "csv", {"y": 2})
    assert read.inputs.dataset_defaults is None


def test_a_default_and_what_it_stands_for_make_equal_recipes(write):
    defaulted = MINIMAL.replace("  datasets:", "  dataset_defaults: {file_type: csv}\n  datasets:")
    said = MINIMAL + "      file_type: csv\n      source: catalog\n"
    assert read_recipe(write(defaulted, "a.yml")) == read_recipe(write(said, "b.yml"))


def test_a_base_gives_the_inputs_that_are_missing_with_its_own_defaults_and_nothing_else(write):
    write(
        "name: Base\nproduct: base\nversion: 1\nenv: {FROM: base}\ninputs:\n"
        "  dataset_defaults: {file_type: csv}\n  datasets: [{id: a, version: 9}, {id: z}, {id: y}]\n",
        "base.yml",
    )
    read = read_recipe(write(MINIMAL + "base_recipe: base.yml\n"))
    listed = [(dataset.id, dataset.version, dataset.file_type) for dataset in read.inputs.datasets]
    assert listed == [("a", "1", None), ("z", None, "csv"), ("y", None, "csv")]
    assert (read.name, read.env) == ("Thing", {})


def test_a_base_of_a_base_counts(write):
    write(MINIMAL.replace("id: a", "id: c"), "c.yml")
    write(MINIMAL.replace("id: a", "id: b") + "base_recipe: c.yml\n", "b.yml")
    read = read_recipe(write(MINIMAL + "base_recipe: b.yml\n"))
    assert [dataset.id for dataset in read.inputs.datasets] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("variables", "env", "environ", "version"),
    [
        ({"V": "1"}, "{V: 2}", {"V": "3"}, "1"),
        ({}, "{V: 2}", {"V": "3"}, "2"),
        ({}, "{}", {"V": "3"}, "3"),
        ({}, "{}", {"V": ""}, None),
    ],
)
def test_a_version_variable_is_looked_up_in_order(write, variables, env, environ, version):
    text = MINIMAL.replace("version: 1\n", "version_env_var: V\n") + f"env: {env}\n"
    dataset = read_recipe(write(text), variables, environ).inputs.datasets[0]
    assert dataset.version == version
    assert dataset.version_env_var == (None if version else "V")


def test_templates_see_build_variables_and_no_others(write, refused):
    text = (
        MINIMAL + "branch: '{{ BUILD_ENV_B | upper }}'\nenv: {A: '{{ BUILD_ENGINE_X | default('none') }}'}\n"
    )
    read = read_recipe(write(text), {}, {"BUILD_ENV_B": "main", "SECRET": "s"})
    assert (read.branch, read.env) == ("MAIN", {"A": "none"})
    error = refused(MINIMAL + "branch: '{{ SECRET }}'\n", environ={"SECRET": "s"})
    assert "'SECRET' is undefined" in str(error)
    assert "BUILD_ENV_" in error.expected


@pytest.mark.parametrize(
    "template",
    [
        "{{ BUILD_ENV_X.__class__ }}",
        "{{ BUILD_ENV_X.foo }}",
        "{{ BUILD_ENV_X['upper'] }}",
        "{{ BUILD_ENV_X | attr('__class__') }}",
        "{{ BUILD_ENV_X.upper() }}",
        "{{ ''.__class__.__mro__ }}",
        "{% for i in range(9) %}{{ i }}{% endfor %}",
        "{{ 'x' * 1000000000 }}",
        "{{ 9 ** 9 ** 9 }}",
        "{% include 'other.yml' %}",
        "{% set x = 1 %}",
        "{{ lipsum() }}",
        "{{ unclosed",
        "{{ " + "(" * 50_000 + "1",
    ],
)
def test_templates_that_reach_for_more_than_variables_are_refused(refused, template):
    error = refused(MINIMAL + f'branch: "{template}"\n', environ={"BUILD_ENV_X": "x"})
    assert error.file.endswith("recipe.yml")


def test_a_lock_is_read_without_templates():
    read = parse_recipe(MINIMAL + "branch: '{{ NOTHING }}'\n", "recipe.lock.yml")
    assert read.branch == "{{ NOTHING }}"


@pytest.mark.parametrize(
    ("text", "place", "line", "said"),
    [
        (b"\xff\xfe\x00", "", None, "UTF-8"),
        ("", "", None, "nothing"),
        ("- a\n", "", 1, "no mapping"),
        ("just text", "", 1, "no mapping"),
        ("a: [1\n", "", 2, "YAML"),
        ("a: b: c\n", "", 1, "YAML"),
        ("a: \x01\n", "", None, "YAML"),
        (MINIMAL + "---\nname: Other\n", "", 8, "second document"),
        ("a: &x [1]\nb: [*x, *x]\n", r"b\[0]", 2, "alias"),
        ("a: !!python/object/apply:os.system ['true']\n", "a", 1, "tag"),
        ("a: !!str 1\n", "a", 1, "tag"),
        ("!!map {a: 1}\n", "", 1, "tag"),
        ("? [a]\n: 1\n", "", 1, "key"),
        ("a: " + "[" * 100_000, r"a(\[0])+", 1, "nesting"),
        ("a: " + "{a: " * 40, r"a(\.a)+", 1, "nesting"),
        ("name: " + "x" * 1_000_001, "", None, "larger"),
        (MINIMAL + "custom: {a: .inf}\n", "custom.a", 8, "finite"),
        (MINIMAL + "custom: {a: " + "9" * 5000 + "}\n", "custom.a", 8, "number"),
        (MINIMAL + "verison: 1\n", "verison", 8, "'version'?"),
        (MINIMAL + "      fil_type: csv\n", r"inputs.datasets\[0].fil_type", 8, "'file_type'?"),
        (MINIMAL.replace("name: Thing\n", ""), "name", None, "the key 'name'"),
        (MINIMAL.replace("version: 24Q4\n", ""), "", None, "neither version nor version_strategy"),
        (MINIMAL + "version_strategy: today\n", "", None, "both"),
        (MINIMAL.replace("24Q4", "[1, 2]"), "version", 3, "found a list"),
        (MINIMAL.replace("24Q4", "{a: 1}"), "version", 3, "found a mapping"),
        ("name: x\nproduct: x\nversion: 1\ninputs: text\n", "inputs", 4, "'text'"),
        (MINIMAL.replace("product: thing", "product: ../x"), "product", 2, "'../x'"),
        (MINIMAL.replace("product: thing", "product: a/b"), "product", 2, "plain name"),
        (MINIMAL.replace("product: thing", "product: ''"), "product", 2, "plain name"),
        (MINIMAL.replace("product: thing", 'product: "a\\0b"'), "product", 2, "plain name"),
        (MINIMAL.replace("product: thing", 'product: "a\\n"'), "product", 2, "plain name"),
        (MINIMAL.replace("product: thing", "product: ünicode"), "product", 2, "plain name"),
        (MINIMAL.replace("product: thing", "product: _thing"), "product", 2, "plain name"),
        (MINIMAL.replace("24Q4", "x" * 300), "version", 3, "300 characters"),
        (MINIMAL.replace("version: 1\n", "version: ../1\n"), r"inputs.datasets\[0].version", 7, "plain name"),
        (MINIMAL.replace("id: a", "id: ../a"), r"inputs.datasets\[0].id", 6, "plain name"),
        (MINIMAL + "      import_as: a/b\n", r"inputs.datasets\[0].import_as", 8, "plain name"),
        (MINIMAL + "      file_type: cvs\n", r"inputs.datasets\[0].file_type", 8, "'csv'"),
        (MINIMAL + "      name: b\n", r"inputs.datasets\[0]", 6, "'b'"),
        (MINIMAL + "    - {id: a, version: 1}\n", "inputs", 4, "datasets[1], which is datasets[0] (a) again"),
        (MINIMAL + "    - {id: b, import_as: a}\n", "inputs", 4, "2 inputs called 'a'"),
        (MINIMAL + "env: {'A B': 1}\n", "env.A B", 8, "variable"),
        (MINIMAL + "simulate: {seconds: {load: -1}}\n", "simulate.seconds.load", 8, "greater than"),
        (MINIMAL + "simulate: {seconds: {load: nan}}\n", "simulate.seconds.load", 8, "finite"),
        (
            MINIMAL + "stage_config: {builds.build: {connector_args: [{name: x}]}}\n",
            r".*args\[0]",
            8,
            "neither value",
        ),
        (MINIMAL + "stage_config: {builds.build: {files: [../x]}}\n", r".*files\[0]", 8, "below the recipe"),
        (MINIMAL + "base_recipe: recipe.yml\n", "base_recipe", 8, "includes itself"),
        (MINIMAL + "base_recipe: none.yml\n", "", None, "no such file"),
    ],
    ids=lambda value: f"{value:.40}" if isinstance(value, str) else None,
)
def test_bad_input_is_told_with_its_place(refused, text, place, line, said):
    error = refused(text)
    assert said in str(error)
    assert re.fullmatch(place, error.place)
    assert error.problems[0].line == line
    assert Path(error.file).suffix == ".yml"
    assert error.found in str(error)
    assert error.expected in str(error)


@pytest.mark.parametrize(
    ("exports", "said"),
    [
        ("{datasets: [{name: package, format: json}]}", "package.json"),
        ("{datasets: [{name: x, format: csv, filename: sha256sums}]}", "sha256sums"),
        ("{datasets: [{name: data_dictionary, format: csv}]}", "data_dictionary.csv"),
        ("{datasets: [{name: x, format: csv, filename: ../x.csv}]}", "plain file name"),
        ("{datasets: [{name: x, format: csv, filename: a/x.csv}]}", "plain file name"),
        ("{datasets: [{name: x, format: pdf}]}", "'pdf'"),
        ("{zip_name: x, datasets: [{name: y, format: gdb, filename: x.zip}]}", "x.zip"),
        ("{zip_name: ../x}", "plain name"),
        ("{output_folder: ../x}", "folder below"),
        ("{output_folder: /x}", "folder below"),
        ("{output_folder: package.json/a}", "another folder"),
        ("{output_folder: x.zip, zip_name: x}", "another folder"),
    ],
)
def test_export_names_stay_in_their_place(refused, exports, said):
    error = refused(MINIMAL + f"exports: {exports}\n")
    assert error.place.startswith("exports")
    assert said in str(error)


def test_file_names_may_have_spaces(write):
    text = MINIMAL + "exports: {datasets: [{name: x, format: csv, filename: My File 1.csv}]}\n"
    assert read_recipe(write(text)).exports.datasets[0].file_name == "My File 1.csv"


def test_all_problems_are_told_at_once(refused):
    error = refused(
        MINIMAL.replace("product: thing", "prodct: thing").replace("version: 1\n", "version: a b\n")
    )
    assert {problem.place for problem in error.problems} == {
        "prodct",
        "product",
        "inputs.datasets[0].version",
    }
    assert "3 problems" in str(error)


@pytest.mark.parametrize("name", ["none.yml", "."])
def test_what_is_no_file_is_refused(tmp_path, name):
    with pytest.raises(RefusedError, match=r"no such file|a folder"):
        read_recipe(tmp_path / name)


def test_a_version_variable_must_hold_a_plain_name(refused):
    text = MINIMAL.replace("version: 1\n", "version_env_var: V\n")
    error = refused(text, variables={"V": "../1"})
    assert error.place == "inputs.datasets[0].version_env_var"
    assert "V='../1'" in error.found


def test_the_longest_names_are_accepted_and_longer_ones_are_not(write, refused):
    assert read_recipe(write(MINIMAL.replace("24Q4", "x" * 100))).version == "x" * 100
    assert re.search("101 characters", refused(MINIMAL.replace("24Q4", "x" * 101)).found)


@pytest.mark.parametrize(
    ("written", "strategy"),
    [
        ("today", "today"),
        ("{bump_latest_release: 2}", BumpLatestRelease(bump_latest_release=2)),
        ("{pin_to_source_dataset: a}", PinToSourceDataset(pin_to_source_dataset="a")),
    ],
)
def test_version_strategies(write, written, strategy):
    text = MINIMAL.replace("version: 24Q4", f"version_strategy: {written}")
    assert read_recipe(write(text)).version_strategy == strategy


@pytest.mark.parametrize("written", ["tomorrow", "{bump_latest_release: x}", "{bump: 1}", "[today]"])
def test_other_version_strategies_are_refused_with_the_valid_ones(refused, written):
    error = refused(MINIMAL.replace("version: 24Q4", f"version_strategy: {written}"))
    assert error.place == "version_strategy"
    assert "first_of_month" in error.expected


def test_inputs_are_named_by_alias_then_id_then_id_and_version():
    datasets = [
        {"id": "a", "version": 1},
        {"id": "a", "version": 2},
        {"id": "a", "version": 1, "import_as": "_x"},
        {"id": "b"},
        {"id": "c", "import_as": "y"},
        {"id": "c"},
    ]
    read = recipe(inputs={"datasets": datasets})
    assert input_names(read.inputs.datasets) == ("a@1", "a@2", "_x", "b", "y", "c")


@pytest.mark.parametrize(
    ("changes", "floats"),
    [
        ({}, False),
        ({"inputs": {"datasets": [{"id": "a", "version": "latest"}]}}, True),
        ({"inputs": {"datasets": [{"id": "a"}]}}, True),
        ({"inputs": {"datasets": [{"id": "a", "version_env_var": "VERSION_PREV"}]}}, True),
        ({"version": None, "version_strategy": "today"}, True),
        ({"version": None, "version_strategy": "first_of_month"}, True),
        ({"version": None, "version_strategy": "bump_latest_release"}, True),
        ({"version": None, "version_strategy": {"bump_latest_release": 2}}, True),
        ({"version": None, "version_strategy": {"pin_to_source_dataset": "a"}}, False),
    ],
)
def test_a_recipe_floats_if_its_lock_can_change(changes, floats):
    assert is_floating(recipe(**changes)) is floats


def test_simulated_and_real_change_only_the_simulate_section():
    plain, timed = recipe(), recipe(simulate={"seconds": {"load": 3}})
    assert simulated(timed) == timed
    assert real(timed) == plain == real(simulated(plain))
    assert simulated(plain).simulate is not None
