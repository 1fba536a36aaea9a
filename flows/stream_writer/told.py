"""What a run tells of itself: of each stream, and of the hours."""

from flows.stream_writer.batch import Id
from flows.stream_writer.streams import Position
from larder.artifacts import Frozen


class StreamTold(Frozen):
    """What became of one stream in a run."""

    batches: int = 0
    messages: int = 0
    """That the batches held."""
    written: int = 0
    """Of them by this run; the others were written before."""
    quarantined: int = 0
    files: int = 0
    """That hold the batches' messages."""
    lost: tuple[Id, ...] = ()
    """Messages that left the stream before anybody read them."""
    largest_batch: int = 0
    trimmed: int = 0
    left: Position | None = None
    """How far the group is at the end."""

    def with_files(self, written: int, files: int, quarantined: int) -> "StreamTold":
        """With what became of its messages in the bucket."""
        return self.model_copy(update={"written": written, "files": files, "quarantined": quarantined})

    def with_stream(self, lost: tuple[Id, ...], trimmed: int) -> "StreamTold":
        """With what became of its messages in Redis."""
        return self.model_copy(update={"lost": lost, "trimmed": trimmed})

    def and_batch(self, batch: "StreamTold") -> "StreamTold":
        """With one batch more."""
        return StreamTold(
            batches=self.batches + batch.batches,
            messages=self.messages + batch.messages,
            written=self.written + batch.written,
            quarantined=self.quarantined + batch.quarantined,
            files=self.files + batch.files,
            lost=(*self.lost, *batch.lost),
            largest_batch=max(self.largest_batch, batch.messages),
            trimmed=self.trimmed + batch.trimmed,
        )


class Told(Frozen):
    """What a run came to."""

    streams: dict[str, StreamTold] = {}
    hours_compacted: int = 0
    files_replaced: int = 0
    """Files that now stand in the place of several."""
    files_swept: int = 0
    """Files that were removed after they had been replaced."""
    files_settled: int = 0
    """Files that were registered and did not count yet."""
