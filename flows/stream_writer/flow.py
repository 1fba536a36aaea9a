"""The pipeline: join → (take → read → write → commit → acknowledge → trim)*; or compaction."""

from collections import deque
from pathlib import Path

from flows.stream_writer import actions, compacting, definitions
from flows.stream_writer.actions import Begun
from flows.stream_writer.batch import Written
from flows.stream_writer.declared import QUARANTINE, Configuration
from flows.stream_writer.report import StreamReport
from flows.stream_writer.told import StreamTold, Told
from larder.action import action
from larder.configuration import Configurations
from larder.pipeline import pipeline
from larder.stage import StageFailed, stage

join, take, commit = action(actions.JOIN), action(actions.TAKE), action(actions.COMMIT)
acknowledge, trim, tell = action(actions.ACKNOWLEDGE), action(actions.TRIM), action(actions.TELL)
settle, find_crowded = action(compacting.SETTLE), action(compacting.FIND)
replace, sweep = action(compacting.REPLACE), action(compacting.SWEEP)
read, write, compact = stage(definitions.READ), stage(definitions.WRITE), stage(definitions.COMPACT)

CONFIGURATIONS = Configurations(
    pipeline="stream_writer", folder=Path(__file__).parent / "configuration", model=Configuration
)


@pipeline(
    name="stream-writer",
    run_name="stream-writer",
    report=StreamReport(),
    configurations=CONFIGURATIONS,
    deployment="stream-writer/every-five-minutes",
)
def stream_writer(configuration: Configuration, compact: bool = False) -> Told:
    """Write what waits on streams of Redis as Parquet files by hour and type, each event once.

    Args:
        configuration: which streams, what their events hold, and how much one run does
        compact: join the small files of past hours instead
    """
    return compacted(configuration) if compact else written(configuration)


@pipeline(
    name="stream-compaction",
    run_name="stream-compaction",
    report=StreamReport(),
    configurations=CONFIGURATIONS,
    deployment="stream-compaction/nightly",
)
def stream_compaction(configuration: Configuration) -> Told:
    """Join the small files of past hours, as `larder run stream_writer --compact` does."""
    return compacted(configuration)


def written(configuration: Configuration) -> Told:
    """Batches of all streams in turn, until nothing waits or the run has done enough."""
    begun = join(configuration)
    told = {name: StreamTold() for name in configuration.streams}
    turns = deque(configuration.streams)
    while turns and sum(one.messages for one in told.values()) < configuration.limits.messages:
        name = turns.popleft()
        try:
            batch = one_batch(configuration, name, begun)
        except StageFailed:
            continue
        if batch.batches:
            told[name] = told[name].and_batch(batch)
            turns.append(name)
    return tell(configuration, told)


def one_batch(configuration: Configuration, name: str, begun: Begun) -> StreamTold:
    """One batch of one stream, from being pending to being acknowledged; without batches where none waits."""
    taken = take(configuration, name, begun, label=name)
    if not taken.ids:
        removed = trim(configuration, name, label=name)
        return StreamTold(trimmed=int(removed.messages))
    label = f"{name} {taken.ids[0]}"
    told = StreamTold(batches=1, messages=len(taken.ids))
    if taken.pages:
        batch = read(name, list(taken.pages), label=label)
        made = write(name, batch, configuration.event, configuration.types, label=label)
        counted = commit(name, made, label=label)
        told = told.with_files(int(counted.written), int(counted.files), in_quarantine(made))
    done = acknowledge(configuration, taken, label=label)
    removed = trim(configuration, name, label=label)
    return told.with_stream(tuple(done.lost), int(removed.messages))


def compacted(configuration: Configuration) -> Told:
    """One file of each type and stream for every past hour that has several."""
    settled = settle(configuration)
    hours = find_crowded(configuration).hours
    files = 0
    for crowded in hours:
        made = compact(crowded.hour, list(crowded.files), label=crowded.hour)
        files += int(replace(made, label=crowded.hour).files)
    swept = sweep(configuration)
    return Told(
        hours_compacted=len(hours),
        files_replaced=files,
        files_swept=int(swept.files),
        files_settled=int(settled.files),
    )


def in_quarantine(made: Written) -> int:
    """How many messages of a batch no table takes."""
    return sum(file.rows for part in made.parts for file in part.files if file.type == QUARANTINE)
