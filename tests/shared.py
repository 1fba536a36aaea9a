"""Files that lie beside a checkout on some machines and belong to nobody's repository."""

from larder.settings import CHECKOUT

SHARED = CHECKOUT.parent / "shared"
RECIPES = SHARED / "data" / "recipes"
CASES = SHARED / "cases"
ACTIVITY = SHARED / "data" / "activity"
