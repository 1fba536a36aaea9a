"""Text in an encoding as UTF-8."""

from pathlib import Path
from typing import Any

MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
PIECE_CHARACTERS = 2**20


def in_utf8(source: Path, encoding: Any, target: Path) -> Path:
    """A file of text as UTF-8: itself where it is, else a new file beside `target`.

    Args:
        encoding: else that of its byte order mark, else UTF-8.

    Raises:
        ValueError: if it is not in that encoding.
    """
    with source.open("rb") as content:
        head = content.read(4)
    marked = next((name for mark, name in MARKS.items() if head.startswith(mark)), None)
    used = str(encoding or marked or "utf-8").lower().replace("_", "-")
    if marked and used.startswith(marked.removesuffix("-sig")):
        used = marked
    if used in {"utf-8", "utf8"}:
        return source
    text = target.with_suffix(".utf8")
    try:
        with (
            source.open(encoding=used, newline="") as lines,
            text.open("w", encoding="utf-8", newline="") as out,
        ):
            while piece := lines.read(PIECE_CHARACTERS):
                out.write(piece)
    except (UnicodeError, LookupError) as error:
        raise ValueError(f"it is not in the encoding {used} ({error})") from error
    return text
