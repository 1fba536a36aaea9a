"""Names that the world gives to files, made safe, and keys of the pages that people read."""

import hashlib
import re
import unicodedata
from urllib.parse import unquote, urlsplit

UNNAMED = "downloaded_file"
MOST_CHARACTERS = 100
MOST_KEY_CHARACTERS = 200
_MOST_SUFFIX_CHARACTERS = 20
_PARAMETER = re.compile(r""";\s*([!#$&+^`|~\w.-]+\*?)\s*=\s*("(?:[^"\\]|\\.)*"|[^;]*)""", re.ASCII)


def safe_name(text: str) -> str:
    """The last part of a path as ASCII letters, digits, `_` and `.`, at most 100 characters.

    `My File-1 (v2).PDF` becomes `My_File_1_v2.PDF`; where nothing is left the name is `downloaded_file`.
    """
    last = re.split(r"[/\\]", text)[-1]
    plain = unicodedata.normalize("NFKD", last.strip())
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    parts = [_words(part) for part in plain.lstrip(".").split(".")]
    stem, *suffixes = parts
    suffixes = [suffix for suffix in suffixes if suffix]
    return _shortened(stem or UNNAMED, suffixes)


def name_of_disposition(header: str | None) -> str | None:
    """The file name in a Content-Disposition header (RFC 6266), as it was given; None where there is none.

    `filename*` counts before `filename`, unless it cannot be decoded.
    """
    given: dict[str, str] = {}
    for found in _PARAMETER.finditer(f";{header or ''}"):
        given.setdefault(found[1].lower(), found[2].strip())
    return _extended(given.get("filename*", "")) or _unquoted(given.get("filename", "")) or None


def name_of_url(url: str) -> str:
    """The last part of a URL's path, decoded; empty where there is none."""
    return unquote(urlsplit(url).path.rsplit("/", 1)[-1])


def page_key(*parts: str) -> str:
    """A key of lower-case letters, digits and dashes for the page about `parts`; no others share it."""
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    words = re.sub(r"[^a-z0-9]+", "-", "-".join(parts).lower()).strip("-")
    return f"{words[: MOST_KEY_CHARACTERS - 17].strip('-')}-{digest}".strip("-")


def _words(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_")


def _shortened(stem: str, suffixes: list[str]) -> str:
    ending = f".{suffixes[-1][:_MOST_SUFFIX_CHARACTERS]}" if suffixes else ""
    stem = ".".join([stem, *suffixes[:-1]])[: MOST_CHARACTERS - len(ending)].rstrip("._")
    return stem + ending


def _extended(value: str) -> str:
    charset, _, rest = value.partition("'")
    _, _, encoded = rest.partition("'")
    try:
        return unquote(encoded, encoding=charset, errors="strict")
    except (LookupError, UnicodeDecodeError):
        return ""


def _unquoted(value: str) -> str:
    """The text of a quoted string. A backslash that escapes nothing stays: it stands in paths of Windows."""
    if len(value) >= 2 and value.startswith('"') and value.endswith('"'):
        return re.sub(r'\\(["\\])', r"\1", value[1:-1])
    return value
