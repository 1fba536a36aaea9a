"""What programs print, as lines."""

import io
from collections.abc import Iterable

import pytest

from flows.tables import progress
from flows.tables.progress import printed_lines


class Pieces(io.BytesIO):
    """A stream that comes in these pieces."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        super().__init__()
        self.pieces = iter(pieces)

    def read1(self, size: int | None = -1, /) -> bytes:
        return next(self.pieces, b"")


@pytest.mark.parametrize(
    ("printed", "lines"),
    [
        (b"", []),
        (b"one\ntwo", ["one", "two"]),
        (b"one\r\n\r\ntwo\r\n", ["one", "", "two"]),
        (b"1 %\r2 %\r100 %\ndone\n", ["100 %", "done"]),
        (b"1 %\r100 %\r", ["100 %"]),
        (b"\r1 %\r100 %\r      \r\nafter\n", ["100 %", "after"]),
        ("één\r\ntwee\xff\n".encode("latin-1"), ["\ufffd\ufffdn", "twee\ufffd"]),
        ("één\n".encode(), ["één"]),
        (b"same\nsame\n", ["same", "same"]),
    ],
)
def test_the_last_text_of_a_line_counts_however_it_comes(printed: bytes, lines: list[str]) -> None:
    assert list(printed_lines(Pieces([printed]))) == lines
    assert list(printed_lines(Pieces(bytes([byte]) for byte in printed))) == lines


def test_a_long_task_shows_now_and_then_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter(range(0, 1000, 4))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(seconds))
    updates = Pieces(f"{number} %\r".encode() for number in range(10))
    assert list(printed_lines(updates)) == ["2 %", "5 %", "8 %", "9 %"]


def test_a_line_without_an_end_is_cut() -> None:
    lines = list(printed_lines(Pieces([b"x" * 50_000] * 3 + [b"\n"])))
    assert "".join(lines) == "x" * 150_000
    assert len(lines) > 1
