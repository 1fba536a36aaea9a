"""What the command `count` runs: which services more than one branch offers."""

import os
from pathlib import Path

import duckdb


def count() -> None:
    """Write the table that the recipe promises, and a text for the command after this one."""
    tagged = Path(os.environ["LARDER_INPUT_DIR"]) / "tagged.parquet"
    target = Path(os.environ["LARDER_OUTPUT_DIR"]) / "services.parquet"
    counted = duckdb.sql(
        "select service, count(*) as branches from read_parquet($tagged) "
        "group by service having count(*) >= $least order by service",
        params={"tagged": str(tagged), "least": int(os.environ["LEAST"])},
    )
    counted.write_parquet(str(target))
    Path("services.txt").write_text(
        "".join(f"{service}: {branches}\n" for service, branches in counted.fetchall())
    )
