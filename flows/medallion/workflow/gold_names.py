"""What the tables of a job's gold are called."""

import re

METRICS = "metrics"
CUSTOMERS = "customer_dimension"


def breakdown_name(column: str) -> str:
    """What the breakdown by a column is called."""
    return "by_" + re.sub(r"[^A-Za-z0-9_-]", "_", column)
