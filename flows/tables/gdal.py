"""GDAL, as pyogrio brings it: all that is asked of it stands here, and it says nothing on stderr.

It is imported where it is needed: that takes longer than many a build.
"""

import re
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

BATCH_ROWS = 2**16
FIXED_DAY = "1980-01-01"
"""In place of the day of writing, which some formats note."""
MOST_LINES = 5
OURS = re.compile(
    r"'crs' was not provided|laundered field name|couldn't be converted|Further messages"
    r"|NaN of Infinity|not successfully written|not be emitted anymore|SHAPE_RESTORE_SHX"
)
"""Of what GDAL says, what readers and writers say themselves: with its place, and each time."""
_alone = threading.RLock()


@dataclass(frozen=True)
class Layer:
    """The features of one layer, as they come."""

    rows: duckdb.DuckDBPyRelation
    """Its fields, and last its shapes, where it has any."""
    names: list[str]
    """Of its fields, without the shapes."""


@contextmanager
def quiet(said: list[str]) -> Iterator[None]:
    """Collect in `said` what GDAL, pyogrio and numpy would print; one thread at a time.

    Raises:
        ValueError: where GDAL could not do what it was asked for.
    """
    from pyogrio.errors import CRSError, DataLayerError, DataSourceError, FeatureError, FieldError

    failures = (DataSourceError, DataLayerError, FieldError, FeatureError, CRSError)
    with _alone, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        except failures as error:
            raise ValueError(str(error).partition("; It might")[0]) from error
    lines = dict.fromkeys(" ".join(str(warning.message).split()) for warning in caught)
    said += [f"GDAL says: {line}" for line in lines if not OURS.search(line)][:MOST_LINES]


def layers_of(source: Path, said: list[str]) -> list[str]:
    """The names of a file's layers.

    Raises:
        ValueError: if GDAL cannot read it.
    """
    import pyogrio

    with quiet(said):
        return [str(name) for name, _ in pyogrio.list_layers(source)]


@contextmanager
def opened(
    connection: duckdb.DuckDBPyConnection,
    source: Path,
    said: list[str],
    layer: str | None = None,
    **options: str | bool,
) -> Iterator[Layer]:
    """The features of a layer, to be read within the context.

    Args:
        options: of GDAL's driver; and `read_geometry`, false where only the fields are wanted.

    Raises:
        ValueError: if GDAL cannot read it.
    """
    import pyogrio
    from pyogrio.raw import open_arrow

    pyogrio.set_gdal_config_options({"SHAPE_RESTORE_SHX": "YES"})
    with (
        quiet(said),
        open_arrow(source, layer=layer, use_pyarrow=False, batch_size=BATCH_ROWS, **options) as (
            about,
            stream,
        ),
    ):
        yield Layer(connection.from_arrow(stream), [str(name) for name in about["fields"]])


def straight_shapes(source: Path, layer: str | None, said: list[str]) -> Iterator[list[bytes | None]]:
    """The shapes of a layer as WKB, some thousands at a time: what was curved is in straight pieces."""
    from pyogrio.raw import read

    start = 0
    while True:
        with quiet(said):
            _, _, shapes, _ = read(
                source, layer=layer, columns=[], skip_features=start, max_features=BATCH_ROWS
            )
        if not len(shapes):
            return
        yield list(shapes)
        start += len(shapes)


def write_layer(
    rows: duckdb.DuckDBPyRelation, target: Path, said: list[str], options: Mapping[str, Any]
) -> None:
    """Write rows as a layer.

    Args:
        options: `driver`, `layer`, `geometry_name`, `geometry_type`, `crs`, and those of the driver.

    Raises:
        ValueError: if GDAL cannot write them.
    """
    import pyogrio
    from pyogrio.raw import write_arrow

    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": f"{FIXED_DAY}T00:00:00.000Z"})
    with quiet(said):
        write_arrow(rows, target, **options)
