"""The stages of the stream writer: their functions, what counts in their keys, where their results lie."""

from flows.stream_writer.connection import Streams, readable_streams
from flows.stream_writer.hours import Hours
from flows.stream_writer.stages.compact import compact
from flows.stream_writer.stages.read import read
from flows.stream_writer.stages.write import write
from flows.stream_writer.streams import StreamsUnreachableError
from larder.definition import Context, Definition


def streams_at(context: Context) -> Streams:
    """The streams, as they are."""
    return readable_streams(context.settings)


def hours_in(context: Context) -> Hours:
    """The hours of the bucket."""
    return Hours(context.store)


READ = Definition(
    stage="read",
    function=read,
    folder="_streams/{stream}",
    title="{stage}-{pages[0]:.13}",
    labelled=True,
    supplied={"source": streams_at},
    retries=2,
    retry_on=(StreamsUnreachableError,),
)
WRITE = Definition(
    stage="write",
    function=write,
    folder="_streams/{stream}",
    title="{stage}-{batch.first}",
    labelled=True,
    libraries=("duckdb",),
)
COMPACT = Definition(
    stage="compact",
    function=compact,
    folder="_streams/_hours",
    title="{stage}-{hour}",
    labelled=True,
    supplied={"folder": hours_in},
    libraries=("duckdb",),
)
