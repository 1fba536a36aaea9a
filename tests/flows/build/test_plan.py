import os
import shutil
from datetime import date
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from flows.build.catalog import Catalog, CatalogUnreachable
from flows.build.planning.checks import check_real
from flows.build.recipe.file import parse_recipe, read_recipe
from flows.build.recipe.schema import Recipe, simulated
from flows.build.stages import plan as planning
from flows.build.stages import simulate
from flows.build.stages.plan import lock_text
from larder.refusal import RefusedError
from larder.settings import CHECKOUT
from tests.shared import RECIPES

DAY = date(2024, 5, 17)


class Released(dict):
    """Releases in memory: lock text by version."""

    def versions(self):
        return list(self)

    def lock(self, version):
        return parse_recipe(self[version], version)


@pytest.fixture
def catalog(tmp_path):
    for dataset, version, extension in [
        ("a", "24Q4", "csv"),
        ("a", "25v9", "csv"),
        ("a", "25v10", "csv"),
        ("a", "25v10", "parquet"),
        ("b", "1", "sql"),
        ("thing", "24Q3", "csv"),
        ("thing", "24Q4", "csv"),
    ]:
        file = tmp_path / "catalog" / dataset / version / f"{dataset}.{extension}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x\n1\n")
    return Catalog(str(tmp_path / "catalog"))


@pytest.fixture
def scratch(tmp_path_factory):
    return lambda: tmp_path_factory.mktemp("scratch")


@pytest.fixture
def plan(catalog, scratch):
    def plan(recipe, releases=None, catalog=catalog, day=DAY):
        make = simulate.plan if recipe.simulate else planning.plan
        known = Released(releases or {})
        return make(recipe, day=day, catalog=catalog, releases=known, scratch=scratch())

    return plan


def recipe(*datasets, **changes):
    content = {"name": "Thing", "product": "thing", "version": "25Q1", **changes}
    if "version_strategy" in changes:
        del content["version"]
    inputs = {"datasets": list(datasets), **content.pop("inputs", {})}
    return parse_recipe(yaml.safe_dump({**content, "inputs": inputs}), "recipe")


def versions(lock):
    return lock.source_versions


def test_latest_and_a_missing_version_are_the_newest_by_meaning(plan):
    lock = plan(recipe({"id": "a"}, {"id": "a", "version": "latest", "import_as": "again"}))
    assert versions(lock) == {"a": "25v10", "again": "25v10"}


def offer(catalog, dataset, *names):
    for name in names:
        file = Path(catalog.url) / dataset / name / f"{dataset}.csv"
        file.parent.mkdir(parents=True)
        file.write_text("x\n1\n")


@pytest.mark.parametrize("alias", ["latest", "current", "2024-latest"])
def test_a_name_that_points_at_a_version_is_none(plan, catalog, alias):
    offer(catalog, "districts", "22c", "24a", alias)
    lock = plan(recipe({"id": "districts"}))
    assert versions(lock) == {"districts": "24a"}
    assert lock.warned == ()
    offer(catalog, "districts", "24b")
    assert versions(plan(recipe({"id": "districts", "version": "latest"}))) == {"districts": "24b"}


def test_a_dataset_of_aliases_alone_has_no_version(plan, catalog):
    offer(catalog, "districts", "latest", "current")
    with pytest.raises(RefusedError, match="no versions but current, latest, which names another one"):
        plan(recipe({"id": "districts"}))


@pytest.mark.parametrize("alias", ["current", "Latest"])
def test_an_alias_cannot_be_pinned(plan, catalog, alias):
    offer(catalog, "districts", "24a", alias)
    with pytest.raises(
        RefusedError, match=rf"inputs.datasets\[0\].version: found {alias}, .*expected latest"
    ):
        plan(recipe({"id": "districts", "version": alias}))


@pytest.mark.parametrize("make", [lambda made: made, simulated])
def test_where_the_newest_is_not_clear_what_was_taken_is_said(plan, catalog, make):
    offer(catalog, "districts", "2022", "2024", "20240615", "final")
    offer(catalog, "wards", "2022", "20231231", "2024")
    lock = plan(make(recipe({"id": "districts"}, {"id": "wards"})))
    assert versions(lock) == {"districts": "20240615", "wards": "2024"}
    (said,) = lock.warned
    assert said == ("districts: 20240615 was taken for the newest; 2024, final may be as new: name a version")
    again = plan(make(parse_recipe(lock.recipe_lock.read_text(), "lock")))
    assert (again.recipe_lock.read_text(), again.warned) == (lock.recipe_lock.read_text(), ())


def test_a_pinned_version_stays_and_a_missing_file_type_is_the_preferred_one(plan):
    lock = plan(recipe({"id": "a", "version": "25v10"}, {"id": "a", "version": "24Q4"}))
    assert versions(lock) == {"a@24Q4": "24Q4", "a@25v10": "25v10"}
    assert [item.dataset.file_type for item in lock.inputs] == ["parquet", "csv"]


@pytest.mark.parametrize(
    ("strategy", "version"),
    [
        ("today", "2024-05-17"),
        ("first_of_month", "2024-05-01"),
        ({"pin_to_source_dataset": "a"}, "25v10"),
    ],
)
def test_version_strategies_that_need_no_release(plan, strategy, version):
    assert plan(recipe({"id": "a"}, version_strategy=strategy)).version == version


def test_an_ambiguous_input_is_refused_where_it_is_used(plan):
    pinned = recipe(
        {"id": "a", "version": "24Q4"},
        {"id": "a", "version": "25v9"},
        version_strategy={"pin_to_source_dataset": "a"},
    )
    with pytest.raises(RefusedError, match=r"a, which 2 inputs are called; expected one of a@24Q4, a@25v9"):
        plan(pinned)


def test_an_unknown_pin_is_refused_also_when_simulated(plan):
    with pytest.raises(RefusedError, match="zzz, which is no input"):
        plan(simulated(recipe({"id": "a"}, version_strategy={"pin_to_source_dataset": "zzz"})))


def test_bump_stays_when_nothing_changed_and_goes_on_when_something_did(plan):
    first = plan(recipe({"id": "a", "version": "25v9"}, version="25v1"))
    releases = {"25v1": first.recipe_lock.read_text(), "24v7": first.recipe_lock.read_text()}
    same = recipe({"id": "a", "version": "25v9"}, version_strategy="bump_latest_release")
    moved = recipe({"id": "a"}, version_strategy="bump_latest_release", version_type="minor")
    twice = recipe({"id": "a"}, version_strategy={"bump_latest_release": 2})
    assert plan(same, releases).version == "25v1"
    assert plan(same, releases).recipe_lock.read_bytes() == first.recipe_lock.read_bytes()
    assert plan(moved, releases).version == "25v1.1"
    assert plan(twice, releases).version == "25v3"


def test_bump_copies_versions_and_previous_versions_consistently(plan):
    write = recipe(
        {"id": "a"},
        {"id": "thing", "version_env_var": "VERSION_PREV", "import_as": "previous", "file_type": "csv"},
        version_strategy="bump_latest_release",
        inputs={"missing_versions_strategy": "copy_latest_release"},
    )
    start = recipe(
        {"id": "a", "version": "25v9"},
        {"id": "thing", "version": "24Q3", "import_as": "previous", "file_type": "csv"},
        version="24Q4",
    )
    older = plan(recipe({"id": "a", "version": "25v9"}, version="24Q3")).recipe_lock.read_text()
    newest = plan(start).recipe_lock.read_text().replace("file_type: csv", "file_type: csv", 1)
    lock = plan(write, {"24Q3": older, "24Q4": newest})
    assert lock.version == "24Q4"
    assert versions(lock) == {"a": "25v9", "previous": "24Q3"}
    changed = write.model_copy(update={"env": {"A": "1"}})
    lock = plan(changed, {"24Q3": older, "24Q4": newest})
    assert (lock.version, versions(lock)["previous"]) == ("25Q1", "24Q4")


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"version_strategy": "bump_latest_release"}, "version_strategy"),
        ({"inputs": {"missing_versions_strategy": "copy_latest_release"}}, "inputs.datasets[0].version"),
    ],
)
def test_a_real_build_needs_a_release_where_it_builds_on_one(plan, changes, place):
    with pytest.raises(RefusedError, match="no release of this product") as caught:
        plan(recipe({"id": "a"}, **changes))
    assert caught.value.place == place


@pytest.mark.parametrize(
    ("dataset", "place", "said"),
    [
        ({"id": "zzz", "version": "1"}, "inputs.datasets[0].id", "zzz"),
        ({"id": "things", "version": "1"}, "inputs.datasets[0].id", "thing"),
        ({"id": "zzz"}, "inputs.datasets[0].version", "has no versions"),
        ({"id": "things"}, "inputs.datasets[0].version", "such as thing"),
        ({"id": "a", "version": "25v11"}, "inputs.datasets[0].version", "25v10, 25v9, 24Q4"),
        (
            {"id": "a", "version": "24Q4", "file_type": "parquet"},
            "inputs.datasets[0].file_type",
            "has csv of",
        ),
        ({"id": "b", "version": "1"}, "inputs.datasets[0].file_type", "pg_dump"),
        ({"id": "a", "version_env_var": "VERSION_PREV"}, "inputs.datasets[0].version_env_var", "no release"),
        (
            {"id": "a", "version_env_var": "OTHER"},
            "inputs.datasets[0].version_env_var",
            "--var OTHER=VERSION",
        ),
        ({"id": "a", "source": "bytes"}, "inputs.datasets[0].source", "bytes"),
        ({"id": "a", "file_type": "gdb"}, "inputs.datasets[0].file_type", "gdb"),
        (
            {"id": "a", "preprocessor": {"module": "m", "function": "f"}},
            "inputs.datasets[0].preprocessor",
            "f",
        ),
    ],
)
def test_a_real_build_refuses_what_it_cannot_have(plan, dataset, place, said):
    with pytest.raises(RefusedError) as caught:
        plan(recipe(dataset))
    assert caught.value.place == place
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("file_type", "custom", "name", "said"),
    [
        ("csv", {"sheet": "x"}, "sheet", "sheet, which is an option of xlsx files in a csv file"),
        (
            "csv",
            {"delimeter": ";"},
            "delimeter",
            "expected delimiter (there are delimiter, encoding, escape, ",
        ),
        ("csv", {"header": 3}, "header", "expected header_row (there are "),
        ("csv", {"layer": "x"}, "layer", "expected one of delimiter, "),
        ("csv", {"skiprows": "many"}, "skiprows", "expected a number of rows"),
        ("csv", {"sep": ";", "delimiter": ","}, "sep", "another word for delimiter; expected one of them"),
        ("csv", {"header_row": 0}, "header_row", "the number of a row, from 1"),
        ("xlsx", {"sheets": "x"}, "sheets", "sheets in a xlsx file; expected sheet (there are"),
        ("xlsx", {"delimiter": ";"}, "delimiter", "an option of csv files"),
        ("xlsx", {"range": "from A4"}, "range", "cells of a sheet, as A4:F120"),
        ("parquet", {"encoding": "latin-1"}, "encoding", "expected no option: parquet files say themselves"),
        (None, {"delimter": ";"}, "delimter", "found delimter; expected delimiter"),
        (None, {"sheet": "x"}, "sheet", "an option of xlsx files in a parquet file; expected no option"),
    ],
)
def test_options_that_a_file_type_does_not_have_are_refused(plan, file_type, custom, name, said):
    with pytest.raises(RefusedError) as caught:
        plan(recipe({"id": "a", "version": "25v10", "file_type": file_type, "custom": custom}))
    assert caught.value.place == f"inputs.datasets[0].custom.{name}"
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "custom",
    [
        {
            "delimiter": ";",
            "encoding": "latin-1",
            "quote": "'",
            "escape": "\\",
            "skip_rows": 2,
            "skip_footer": "1",
        },
        {"sep": ";", "quotechar": "'", "escapechar": "\\", "skiprows": 2, "skipfooter": 1},
        {"filename": "a file.csv", "file_id": "x", "gone": None},
    ],
)
def test_the_words_of_others_for_an_option_are_taken(plan, custom):
    lock = plan(recipe({"id": "a", "version": "24Q4", "custom": custom}))
    assert lock.inputs[0].dataset.custom == custom


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"exports": {"datasets": [{"name": "a", "format": "dat"}]}}, "exports.datasets[0].format"),
        ({"exports": {"datasets": [{"name": "a", "format": "gdb"}]}}, "exports.datasets[0].format"),
        ({"exports": {"datasets": [{"name": "zzz", "format": "csv"}]}}, "exports.datasets[0].name"),
        (
            {"exports": {"datasets": [{"name": "a", "format": "csv", "custom": {"heading": False}}]}},
            "exports.datasets[0].custom",
        ),
        (
            {
                "exports": {
                    "datasets": [
                        {"name": "a", "format": "csv", "filename": "x"},
                        {"name": "a", "format": "parquet", "filename": "x"},
                    ]
                }
            },
            "exports.datasets[0].filename",
        ),
    ],
)
def test_what_only_a_simulated_build_can_do_is_refused_before_a_real_one(plan, changes, place):
    made = recipe({"id": "a"}, **changes)
    with pytest.raises(RefusedError, match="--simulate") as caught:
        check_real(made)
    assert caught.value.place.endswith(place)
    assert plan(simulated(made)).simulated


def test_two_inputs_that_turn_out_to_be_the_same_are_refused(plan):
    with pytest.raises(RefusedError, match="a@25v10 2 times"):
        plan(recipe({"id": "a", "version": "latest"}, {"id": "a", "version": "25v10"}))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipes_in_daily_use_are_planned_when_simulated_and_their_lock_is_a_fixed_point(path, plan):
    lock = plan(simulated(read_recipe(path)))
    again = plan(parse_recipe(lock.recipe_lock.read_text(), "recipe.lock.yml"))
    files = {"recipe_lock", "source_data_versions"}
    assert lock.model_dump(exclude=files) == again.model_dump(exclude=files)
    assert lock.recipe_lock.read_bytes() == again.recipe_lock.read_bytes()
    assert lock.source_data_versions.read_bytes() == again.source_data_versions.read_bytes()
    assert len({item.name for item in lock.inputs}) == len(lock.inputs)


def as_written(path):
    """Each input's id, alias, version and file type as its YAML says, those of a base behind the others."""
    content = yaml.load(path.read_text(), Loader=yaml.BaseLoader)
    defaults = content["inputs"].get("dataset_defaults", {})
    entries = [{**defaults, **entry} for entry in content["inputs"]["datasets"]]
    found = [
        (
            entry.get("id") or entry["name"],
            entry.get("import_as"),
            entry.get("version"),
            entry.get("file_type"),
        )
        for entry in entries
    ]
    if base := content.get("base_recipe"):
        known = {dataset for dataset, *_ in found}
        found += [entry for entry in as_written(path.parent / base) if entry[0] not in known]
    return found


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_lock_says_what_its_recipe_says(path, plan):
    lock = plan(simulated(read_recipe(path)))
    locked = yaml.load(lock.recipe_lock.read_text(), Loader=yaml.BaseLoader)["inputs"]["datasets"]
    written = as_written(path)
    assert len(locked) == len(lock.inputs) == len(written)
    assert len(written) == {"cscl": 55, "recipe": 38, "recipe-minor": 38}.get(path.stem, len(written))
    for entry, (dataset, alias, version, file_type) in zip(locked, written, strict=True):
        assert (entry["id"], entry.get("import_as")) == (dataset, alias)
        assert entry["version"] == version or version in (None, "latest")
        assert entry["file_type"] == (file_type or "parquet")
    names = [alias or dataset for dataset, alias, *_ in written]
    assert [entry.name for entry in lock.inputs] == names


def test_a_real_lock_is_a_fixed_point(plan):
    made = recipe(
        {
            "id": "a",
            "custom": {"delimiter": "|", "skip_rows": 1, "gone": None},
            "file_type": "csv",
            "url": "null",
        },
        {"id": "a", "version": "24Q4", "destination": "file"},
        custom={"header": False, "n": 1.5, "t": "true", "gone": None},
        branch="{{ not a template }}",
        env={"LONG": "word " * 60 + "\ttab\nline # no comment\u0085", "EMPTY": "", "Y": "yes", "N": "~"},
        exports={"datasets": [{"name": ["a", "24Q4"][0] + "_", "format": "csv"}]},
    )
    made = made.model_copy(update={"exports": None})
    lock = plan(made)
    parsed = parse_recipe(lock.recipe_lock.read_text(), "recipe.lock.yml")
    again = plan(parsed)
    files = {"recipe_lock", "source_data_versions"}
    assert lock.model_dump(exclude=files) == again.model_dump(exclude=files)
    assert lock.recipe_lock.read_bytes() == again.recipe_lock.read_bytes()
    assert parsed.env == made.env


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")), st.floats(0, 100))
def test_any_text_survives_the_lock(text, seconds):
    content = {"name": "x", "product": "x", "version": "1", "inputs": {"datasets": []}}
    made = Recipe.model_validate(
        {**content, "branch": text, "env": {"A": text}, "simulate": {"seconds": {"load": seconds}}}
    ).model_copy(update={"custom": {"a": text, "b": [text, True, 1, seconds]}})
    assert parse_recipe(lock_text(made), "lock") == made


def test_what_nothing_gives_is_called_simulated(plan):
    made = recipe(
        {"id": "zzz"},
        {"id": "a", "version": "no-such-version"},
        {"id": "b"},
        {"id": "c", "version_env_var": "VERSION_PREV"},
        {"id": "d", "source": "bytes"},
        version_strategy="bump_latest_release",
    )
    lock = plan(simulated(made))
    assert lock.version == "simulated"
    assert versions(lock) == {
        "a": "no-such-version",
        "b": "1",
        "c": "simulated",
        "d": "simulated",
        "zzz": "simulated",
    }
    kinds = {item.name: item.dataset.file_type for item in lock.inputs}
    assert kinds == {"a": "parquet", "b": "parquet", "c": "parquet", "d": "parquet", "zzz": "parquet"}
    assert all(item.dataset.made_up for item in lock.inputs)


def test_a_pinned_recipe_asks_the_catalog_only_when_it_is_real(plan, tmp_path):
    gone = Catalog(str(tmp_path / "gone"))
    pinned = recipe({"id": "a", "version": "24Q4", "file_type": "csv"})
    assert versions(plan(simulated(pinned), catalog=gone)) == {"a": "24Q4"}
    with pytest.raises(CatalogUnreachable, match="gone"):
        plan(pinned, catalog=gone)


def test_planning_one_recipe_does_not_touch_the_environment(plan, monkeypatch):
    monkeypatch.delenv("VERSION_PREV", raising=False)
    plan(simulated(recipe({"id": "c", "version_env_var": "VERSION_PREV"}, env={"X": "1"})))
    assert "VERSION_PREV" not in os.environ
    assert "X" not in os.environ


def test_source_versions_are_listed_by_name(plan):
    lock = plan(recipe({"id": "thing", "version": "24Q4"}, {"id": "a", "import_as": "_z"}))
    assert lock.source_data_versions.read_text() == (
        "schema_name,dataset_name,v,file_type\na,_z,25v10,parquet\nthing,thing,24Q4,csv\n"
    )


def test_the_shipped_recipe_can_be_planned_both_ways(plan):
    root = CHECKOUT
    shipped = read_recipe(root / "recipe.yml")
    catalog = Catalog(str(root / "catalog"))
    for made in (shipped, shipped.model_copy(update={"simulate": None})):
        assert versions(plan(made, catalog=catalog)) == {"bpl_libraries": "20240105"}


def test_a_new_version_in_the_catalog_is_found_by_the_same_catalog(plan, catalog):
    assert versions(plan(recipe({"id": "a"}))) == {"a": "25v10"}
    shutil.copytree(Path(catalog.url) / "a" / "25v10", Path(catalog.url) / "a" / "25v11")
    assert versions(plan(recipe({"id": "a"}))) == {"a": "25v11"}
