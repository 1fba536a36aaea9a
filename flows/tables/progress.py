"""What long work says of itself while it goes on."""

import codecs
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedIOBase

Say = Callable[[str], object]

SAY_EVERY_SECONDS = 10.0
PIECE_BYTES = 2**16
LONGEST_LINE = 2**16


@contextmanager
def progress(say: Say, shown: Callable[[], str]) -> Iterator[None]:
    """Say every ten seconds how far the work of this block is; nothing of work that is done sooner.

    Where a file that `shown` looks at is gone just then, nothing is said.
    """
    done = threading.Event()

    def tell() -> None:
        while not done.wait(SAY_EVERY_SECONDS):
            with suppress(OSError):
                say(shown())

    telling = threading.Thread(target=tell, daemon=True)
    telling.start()
    try:
        yield
    finally:
        done.set()
        telling.join()


def printed_lines(stream: BufferedIOBase) -> Iterator[str]:
    """The lines of UTF-8 that a program prints, as they come, without their ends.

    Of a line that it writes over and over, as progress bars do, the last text that is not blank is the line;
    while it goes on, what stands there is given every ten seconds. A line that has no end is cut.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    begun, given, given_at = "", "", time.monotonic()
    while piece := stream.read1(PIECE_BYTES):
        *ended, begun = (begun + decoder.decode(piece)).split("\n")
        for line in ended:
            if (last := _last_text(line)) != given or not given:
                yield last
            given = ""
        begun = _written_over(begun)
        over = "\r" in begun and time.monotonic() - given_at > SAY_EVERY_SECONDS
        if over or len(begun) > LONGEST_LINE:
            given, given_at = _last_text(begun), time.monotonic()
            yield given
            begun = begun if over else ""
    if last := _last_text(begun):
        yield last


def _last_text(line: str) -> str:
    return next((text for text in reversed(line.split("\r")) if text.strip()), "").rstrip()


def _written_over(begun: str) -> str:
    """What still counts of a line that has not ended: its last text that is not blank, and what follows."""
    before, mark, text = begun.rpartition("\r")
    return _last_text(before) + mark + text
