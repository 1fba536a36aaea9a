"""Recipes for tests: our own, and those that lie beside a checkout on some machines."""

from larder.settings import CHECKOUT

SHARED = CHECKOUT.parent / "shared"
OWN_RECIPES = CHECKOUT / "tests" / "flows" / "build" / "recipes"
"""Of our own, with the features of those that lie beside the checkout."""
RECIPES = [*sorted(OWN_RECIPES.rglob("*.yml")), *sorted((SHARED / "data" / "recipes").rglob("*.yml"))]
CASES = SHARED / "cases"
ACTIVITY = SHARED / "data" / "activity"
