import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.build.planning.versions import (
    NotBumpableError,
    bump,
    is_alias,
    newest,
    newest_before,
    order,
    parse,
    rivals,
)
from flows.build.recipe.schema import VersionType

number = st.integers(0, 120).map(str)
short_year = st.integers(0, 99).map("{:02d}".format)
year = st.integers(1990, 2040).map(str)
patch = st.sampled_from(["", ".0", ".1", ".02", ".10"])
of_a_grammar = st.one_of(
    st.builds("{}Q{}{}".format, short_year, st.integers(0, 5), patch),
    st.builds("{}{}{}".format, short_year, st.sampled_from(["prelim", "exec", "adopt"]), patch),
    st.builds("{}v{}{}{}".format, short_year, number, patch, patch),
    st.builds("{}-{:02d}{}".format, year, st.integers(0, 13), patch),
    st.builds("{}-{:02d}-{:02d}{}".format, year, st.integers(1, 12), st.integers(1, 31), patch),
    st.builds("{}{:02d}{:02d}".format, year, st.integers(1, 12), st.integers(1, 31)),
    st.builds("FY{}{}".format, st.one_of(year, short_year), patch),
    st.builds("{}{}".format, year, patch),
    st.builds("{}{}".format, year, st.sampled_from(["Q1", "-Q4", "a", "b", "01", "12"])),
    st.builds("{}{}".format, short_year, st.sampled_from(["a", "B", "q2"])),
)
version = st.one_of(of_a_grammar, st.from_regex(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,8}", fullmatch=True))


@given(version, version)
def test_of_two_versions_exactly_one_comes_first_or_they_are_the_same(one, other):
    assert (order(one) < order(other)) + (order(other) < order(one)) + (one == other) == 1


@given(version, version, version)
def test_the_order_is_transitive(one, two, three):
    first, second, third = sorted((one, two, three), key=order)
    assert order(first) <= order(second) <= order(third)
    assert order(first) <= order(third)


@given(st.lists(version, min_size=1, max_size=8), st.randoms())
def test_the_newest_does_not_depend_on_where_one_begins(versions, shuffle: random.Random):
    shuffled = list(versions)
    shuffle.shuffle(shuffled)
    assert newest(versions) == newest(shuffled)


@pytest.mark.parametrize(
    "ascending",
    [
        ["25v1", "25v1.1", "25v1.1.1", "25v1.2", "25v1.10", "25v9", "25v10", "26v1"],
        ["26prelim", "26exec", "26exec.1", "26adopt", "27prelim"],
        ["23Q4", "24Q1", "24Q2", "24Q4", "24Q4.1", "24Q4.2", "24Q4.10", "25Q1"],
        ["2023-12", "2024-01", "2024-01.1", "2024-02", "2024-10"],
        ["2023-12-31", "20240105", "2024-01-06", "20240107", "2024-01-07.1", "20241001"],
        ["FY23", "FY2024", "FY25"],
        ["2024-01-31", "2024-02", "2024-02-01", "20240215", "2024-03"],
        ["9", "10", "a9", "a10", "final-ish", "simulated", "24Q1"],
        ["24Q5", "2024-02-30", "20241399", "24Q1"],
        ["2022", "20231231", "2024"],
        ["2022", "2023.1", "2024", "2024.2"],
        ["20240105", "2024Q4", "2025-Q1", "25q2"],
        ["22c", "24a", "24B", "24c.1", "25a", "20250101", "2026"],
        ["202312", "2024_01", "20240105", "2024_01_06"],
        ["20231231", "export_20240105", "2024-01-06-rev2", "20240107", "2024.01.08", "20240109T1200Z"],
        ["20240105115959", "20240105120000", "20240106"],
        ["23v9", "FY2024", "24v1", "2024-01", "20240105", "24Q4", "25Q1"],
    ],
)
def test_versions_are_compared_by_what_they_mean(ascending):
    shuffled = ascending[::-1]
    assert sorted(shuffled, key=order) == ascending


def test_equal_meaning_written_differently_has_one_order():
    assert order("25v9") != order("25v09")
    assert order("20240105") != order("2024-01-05")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "24Q0",
        "24Q5",
        "2024-00",
        "2024-13",
        "20240230",
        "4Q1",
        "v1",
        "1.5",
        "٢٤Q4",
        "2300",
        "FY0000",
    ],
)
def test_what_is_of_no_grammar_has_no_meaning(text):
    assert parse(text) is None


@pytest.mark.parametrize(
    "text",
    [
        *("24Q4", "2024-Q4", "26exec.2", "25v1", "25v1.2", "25v1.0.3", "2024-05", "202405", "2024-05-01.1"),
        *("2024", "2024.2", "FY24", "FY2024.1", "2024_05_01"),
    ],
)
def test_a_version_is_written_as_it_was_read(text):
    assert str(parse(text)) == text


@pytest.mark.parametrize(
    "alias",
    ["latest", "LATEST", "current", "newest", "2024-latest", "most_recent", "latest.old", "main", "live"],
)
def test_an_alias_is_never_the_newest(alias):
    assert is_alias(alias)
    assert newest([alias, "24Q1"]) == newest_before([alias, "24Q1"], "24Q2") == "24Q1"
    assert newest([alias]) is None
    assert rivals("24Q1", [alias, "24Q1"]) == []


@pytest.mark.parametrize("version", ["24Q4", "26a", "final", "v2", "concurrent", "currents", "mainland"])
def test_other_names_are_no_aliases(version):
    assert not is_alias(version)


@pytest.mark.parametrize(
    ("versions", "taken", "others"),
    [
        (["2022", "20231231", "2024"], "2024", []),
        (["2024Q4", "2025Q1", "20240105"], "2025Q1", []),
        (["9", "10", "10.1"], "10.1", []),
        (["v9", "v10"], "v10", []),
        (["24a", "24b", "FY23", "2023"], "24b", []),
        (["20231231", "24a"], "24a", []),
        (["2024", "20240615"], "20240615", ["2024"]),
        (["24v3", "20240615", "20230615"], "20240615", ["24v3"]),
        (["FY2024", "20240105"], "20240105", ["FY2024"]),
        (["2024-01", "2024-01-31"], "2024-01-31", ["2024-01"]),
        (["24Q4", "2024Q4"], "2024Q4", ["24Q4"]),
        (["25v9", "25v09"], "25v9", ["25v09"]),
        (["20240105", "20240105_rev2"], "20240105_rev2", ["20240105"]),
        (["v2", "final"], "v2", ["final"]),
        (["archive", "24Q4", "24Q3"], "24Q4", ["archive"]),
    ],
)
def test_versions_that_may_be_as_new_are_named(versions, taken, others):
    assert newest(versions) == taken
    assert rivals(taken, versions) == others


@given(version, version)
def test_of_two_versions_one_is_older_or_they_are_rivals(one, other):
    versions = [version for version in (one, other) if not is_alias(version)]
    taken = newest(versions)
    assert taken not in rivals(taken or "", versions)
    assert set(rivals(taken or "", versions)) <= set(versions)


def test_the_newest_before_a_version():
    assert newest_before(["24Q1", "24Q3", "24Q4"], "24Q4") == "24Q3"
    assert newest_before(["24Q4"], "24Q4") is None
    assert newest([]) is None


@pytest.mark.parametrize(
    ("version", "version_type", "steps", "following"),
    [
        ("25v1", None, 1, "25v2"),
        ("25v1.3.2", "major", 1, "25v2"),
        ("25v1", "minor", 1, "25v1.1"),
        ("25v1.3.2", "minor", 2, "25v1.5"),
        ("25v1", "patch", 1, "25v1.0.1"),
        ("25v9", None, 2, "25v11"),
        ("24Q4", None, 1, "25Q1"),
        ("24Q4.2", None, 1, "25Q1"),
        ("24Q4", "patch", 1, "24Q4.1"),
        ("24Q1", "major", 6, "25Q3"),
        ("26prelim", None, 1, "26exec"),
        ("26adopt", None, 1, "27prelim"),
        ("2024-12", None, 1, "2025-01"),
        ("2024-02-28", None, 1, "2024-02-29"),
        ("20241231", None, 1, "20250101"),
        ("FY2024", None, 1, "FY2025"),
        ("FY24", None, 2, "FY26"),
        ("2024", None, 1, "2025"),
        ("2024-Q4", None, 1, "2025-Q1"),
        ("202412", None, 1, "202501"),
    ],
)
def test_bumping(version, version_type, steps, following):
    assert bump(version, VersionType(version_type) if version_type else None, steps) == following


@pytest.mark.parametrize(
    ("version", "version_type"),
    [
        ("26b", None),
        ("simulated", None),
        ("export_20240105", None),
        ("2199", None),
        ("24Q4", "minor"),
        ("99Q4", None),
        ("9999-12-31", None),
    ],
)
def test_what_has_no_next_version_is_refused(version, version_type):
    with pytest.raises(NotBumpableError, match=version):
        bump(version, VersionType(version_type) if version_type else None)


@given(of_a_grammar, st.sampled_from([None, *VersionType]), st.integers(1, 30))
def test_a_bumped_version_comes_later_and_has_the_same_grammar(text, version_type, steps):
    try:
        bumped = bump(text, version_type, steps)
    except NotBumpableError:
        return
    assert order(text) < order(bumped)
    assert parse(text).grammar == parse(bumped).grammar


@given(of_a_grammar)
def test_repeated_bumps_ascend(text):
    try:
        bumped = [bump(text, VersionType.PATCH, steps) for steps in (1, 2, 3)]
    except NotBumpableError:
        return
    assert all(order(one) < order(other) for one, other in pairwise([text, *bumped]))
