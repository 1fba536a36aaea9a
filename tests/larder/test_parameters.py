"""What the Prefect server would choke on is refused before there is a run."""

import pytest

from larder.artifacts import Frozen
from larder.parameters import MOST_BYTES, plain, require_sendable
from larder.refusal import RefusedError


class Recipe(Frozen):
    name: str
    custom: dict[str, object] = {}


@pytest.mark.parametrize(
    ("value", "place", "found"),
    [
        (2**64, "recipe.custom.x", "18446744073709551616"),
        (-(2**63) - 1, "recipe.custom.x", "-9223372036854775809"),
        ({"deep": [1, {"er": 10**30}]}, "recipe.custom.x.deep[1].er", str(10**30)),
        (float("nan"), "recipe.custom.x", "nan"),
        ([float("inf")], "recipe.custom.x[0]", "inf"),
    ],
)
def test_a_number_that_the_server_cannot_keep_is_refused_with_its_place(
    value: object, place: str, found: str
) -> None:
    with pytest.raises(RefusedError) as caught:
        require_sendable("recipe of thing", {"recipe": Recipe(name="x", custom={"x": value}), "force": []})
    assert (caught.value.place, caught.value.found) == (place, found)
    assert "text in quotes" in caught.value.expected


@pytest.mark.parametrize("value", [2**64 - 1, -(2**63), True, 1.5, None, "1" * 30, [{"a": 1}]])
def test_other_values_are_sent(value: object) -> None:
    recipe = Recipe(name="x", custom={"x": value})
    require_sendable("recipe of thing", {"recipe": recipe})
    assert plain({"recipe": recipe, "force": ["load"]}) == {
        "recipe": {"name": "x", "custom": {"x": value}},
        "force": ["load"],
    }


def test_more_than_prefect_takes_is_refused_with_the_limit() -> None:
    require_sendable("recipe of thing", {"recipe": Recipe(name="x" * (MOST_BYTES - 2000))})
    for name in ("x" * MOST_BYTES, "é" * (MOST_BYTES // 6)):
        with pytest.raises(RefusedError, match=r"most of them in recipe; expected at most 524,288, which is"):
            require_sendable("recipe of thing", {"recipe": Recipe(name=name), "force": []})
