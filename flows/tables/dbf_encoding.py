"""The encoding of a shapefile's text: it says it rarely, and often wrongly."""

import codecs
import re
from dataclasses import dataclass, field
from pathlib import Path

from flows.tables.dbf import Header, Text, shown, texts_of

UTF_8 = "utf-8"
LATIN = "cp1252"
LANGUAGES = {
    **dict.fromkeys([0x01, 0x09, 0x0B, 0x0D, 0x0F, 0x11, 0x15, 0x18, 0x19, 0x1B], "cp437"),
    **dict.fromkeys([0x02, 0x0A, 0x0E, 0x10, 0x12, 0x14, 0x16, 0x1A, 0x1D, 0x25, 0x37], "cp850"),
    **dict.fromkeys([0x03, 0x57, 0x58, 0x59], LATIN),
    **dict.fromkeys([0x08, 0x17, 0x66], "cp865"),
    **dict.fromkeys([0x13, 0x7B], "cp932"),
    **dict.fromkeys([0x1C, 0x6C], "cp863"),
    **dict.fromkeys([0x1F, 0x22, 0x23, 0x40, 0x64, 0x87], "cp852"),
    **dict.fromkeys([0x26, 0x65], "cp866"),
    **dict.fromkeys([0x4D, 0x7A], "gbk"),
    **dict.fromkeys([0x4E, 0x79], "cp949"),
    **dict.fromkeys([0x4F, 0x78], "cp950"),
    **dict.fromkeys([0x50, 0x7C], "cp874"),
    **dict.fromkeys([0x6A, 0x86], "cp737"),
    **dict.fromkeys([0x6B, 0x88], "cp857"),
    0x04: "mac-roman",
    0x24: "cp860",
    0x67: "cp861",
    0xC8: "cp1250",
    0xC9: "cp1251",
    0xCA: "cp1254",
    0xCB: "cp1253",
    0xCC: "cp1257",
}
"""The encodings that the language byte of a header stands for."""
NUMBERED = {"65001": UTF_8, "936": "gbk", "20866": "koi8-r", "10000": "mac-roman"}
GDALS_NAMES = {"mac-roman": "MACINTOSH", "big5hkscs": "BIG5-HKSCS"}


@dataclass
class Candidate:
    """An encoding, and the first text that is not in it."""

    name: str
    failure: Text | None = None
    cut: list[tuple[Text, int]] = field(default_factory=list)
    """Texts that end in the middle of a character, and where in them it begins."""
    texts: int = 0

    def read(self, text: Text) -> None:
        """Try to decode a text; after the first that fails no other."""
        if self.failure:
            return
        self.texts += 1
        try:
            text.value.rstrip(b" \0").decode(self.name)
        except UnicodeDecodeError as error:
            ends = "unexpected end" in error.reason or "incomplete" in error.reason
            if ends and error.end == len(text.value) == text.width:
                self.cut.append((text, error.start))
            else:
                self.failure = text


def encoding_of(
    file: Path, header: Header, declared: str | None, wanted: str | None
) -> tuple[str, list[str]]:
    """The encoding of the text of a table, and warnings. A character that was cut in the middle is removed.

    Valid UTF-8 is UTF-8; else it is what `declared` says (a .cpg file), else the header's language byte.

    Args:
        wanted: said by the person who reads it; nothing else counts then.

    Raises:
        ValueError: if the text is in none of these.
    """
    says = known(declared or "")
    names: list[str | None] = [_required(wanted)] if wanted else [UTF_8, says, LANGUAGES.get(header.language)]
    candidates = [Candidate(name) for name in dict.fromkeys(names) if name]
    for text in texts_of(file, header):
        for candidate in candidates:
            candidate.read(text)
        if all(candidate.failure for candidate in candidates):
            break
    right = next((candidate for candidate in candidates if not candidate.failure), None)
    if right is None:
        raise ValueError(_failure(candidates))
    _remove(file, right.cut)
    warnings = []
    if right.cut:
        others = f" (so do {len(right.cut) - 1:,} others)" if len(right.cut) > 1 else ""
        warnings.append(
            f"{right.cut[0][0].place} ends in the middle of a character, which is left out{others}"
        )
    if says not in {None, right.name} and right.texts and not wanted:
        warnings.append(f"its .cpg says {(declared or '').strip()}, but its text is {right.name}")
    return right.name, warnings


def gdals_name(encoding: str) -> str:
    """What GDAL calls an encoding of Python's."""
    name = codecs.lookup(encoding).name
    return GDALS_NAMES.get(name) or re.sub(r"^iso8859", "ISO-8859", name.replace("_", "-")).upper()


def known(declared: str) -> str | None:
    """The encoding that a name stands for (`1252`, `ANSI 1252`, `ISO 88591`, `UTF-8`), where it is one."""
    said = declared.strip().strip("\0").lower()
    found = re.search(r"\d+", re.sub(r"[-_ ]", "", said))
    digits = found[0] if found else ""
    latin = re.fullmatch(r"8859(\d{1,2})", digits)
    names = (said, NUMBERED.get(digits), latin and f"iso8859-{latin[1]}", f"cp{digits}")
    return next((codecs.lookup(name).name for name in names if name and _is_text(name)), None)


def _is_text(name: str) -> bool:
    try:
        b"a".decode(name)
    except (LookupError, UnicodeError):
        return False
    return True


def _required(wanted: str) -> str:
    name = known(wanted)
    if name is None:
        raise ValueError(f"there is no encoding {wanted}; some are utf-8, cp1252, gbk and big5")
    return name


def _failure(candidates: list[Candidate]) -> str:
    failure = candidates[0].failure
    text, names = failure or Text(b"", 0, 0, ""), " nor ".join(candidate.name for candidate in candidates)
    neither = f"neither {names}" if len(candidates) > 1 else f"not {names}"
    try:
        hint = f" (in {LATIN} it is {text.value.decode(LATIN).strip()})"
    except UnicodeDecodeError:
        hint = ""
    return f"{text.place} has {shown(text.value)}, which is {neither}: say `custom: {{encoding: …}}`{hint}"


def _remove(file: Path, cut: list[tuple[Text, int]]) -> None:
    with file.open("r+b") as content:
        for text, start in cut:
            content.seek(text.at + start)
            content.write(text.padding * (text.width - start))
