"""The stages of medallion: their functions, what counts in their keys, and where their results lie."""

from datetime import UTC, datetime

from flows.medallion.bucket import bucket_of, files_of_job
from flows.medallion.stages import bronze, columns, gold, ingested, land, landing, silver
from flows.tables import model
from larder.definition import Context, Definition

FOLDER = "medallion/{workflow_id}"
READING = ("duckdb", "ijson", "polars", "python-calamine")


def now(context: Context) -> datetime:  # noqa: ARG001
    """The time."""
    return datetime.now(UTC)


LANDING = Definition(
    stage="landing",
    function=landing.landing,
    folder=FOLDER,
    labelled=True,
    label_in_key=True,
    seen={"files": files_of_job},
    in_memory=True,
)
LAND = Definition(
    stage="land",
    function=land.land,
    folder=f"{FOLDER}/{{job_id}}",
    labelled=True,
    supplied={"bucket": bucket_of},
    retries=2,
    retry_on=(ConnectionError, TimeoutError),
)
INGESTED = Definition(
    stage="ingested",
    function=ingested.ingested,
    folder=FOLDER,
    labelled=True,
    supplied={"now": now},
    fingerprint="the first time counts, whatever the code becomes",
)
INFER = Definition(stage="infer", function=columns.infer, folder=FOLDER, labelled=True, libraries=READING)
UNIFY = Definition(stage="columns", function=columns.unify, folder=FOLDER, labelled=True, label_in_key=True)
BRONZE = Definition(stage="bronze", function=bronze.bronze, folder=FOLDER, labelled=True, libraries=READING)
SILVER = Definition(
    stage="silver",
    function=silver.silver,
    folder=FOLDER,
    labelled=True,
    label_in_key=True,
    outside_key=frozenset({"after"}),
    libraries=("duckdb", "numpy", "polars"),
)
METRICS = Definition(
    stage="metrics",
    function=gold.metrics,
    folder=FOLDER,
    labelled=True,
    label_in_key=True,
    libraries=("duckdb",),
)
BREAKDOWN = Definition(
    stage="breakdown",
    function=gold.breakdown,
    folder=FOLDER,
    labelled=True,
    label_in_key=True,
    libraries=("duckdb",),
)
CUSTOMERS = Definition(
    stage="customers",
    function=gold.customer_dimension,
    folder=FOLDER,
    labelled=True,
    label_in_key=True,
    libraries=("duckdb",),
)
MODEL = Definition(
    stage="model",
    function=model.model,
    folder=FOLDER,
    labelled=True,
    label_in_key=True,
    libraries=("duckdb",),
)
GOLD = Definition(stage="gold", function=gold.gold, folder=FOLDER, labelled=True, label_in_key=True)
