"""What an input's `custom` says to the reader of its file type, and whether that reader knows it."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from flows.tables.file_types import FileType
from flows.tables.formats import OPTIONS
from flows.tables.other_words import OTHER_WORDS
from larder.refusal import Problem

OF_OTHER_SOURCES = frozenset({"filename", "file_id"})
"""With these words a recipe tells other sources than the catalog which file it means."""


def option_problems(place: str, file_type: FileType | None, custom: Mapping[str, Any]) -> Iterator[Problem]:
    """Everything in `custom` that the reader of a file type does not know, or cannot take.

    Args:
        place: of the input in its recipe
        file_type: None where only the catalog can tell; what some reader knows is then no problem
    """
    types = [file_type] if file_type else list(FileType)
    for name, value in sorted(custom.items()):
        if value is None or name in OF_OTHER_SOURCES:
            continue
        at = f"{place}.custom.{name}"
        options = [option for one in types if (option := OPTIONS.get(one, {}).get(_our_word(one, name)))]
        if not options:
            yield Problem(at, _found(name, file_type), _expected(name, types))
        elif not any(option.allows(value) for option in options):
            yield Problem(at, repr(value), options[0].valid)
        elif file_type and (ours := _our_word(file_type, name)) != name and ours in custom:
            yield Problem(at, f"{name}, which is another word for {ours}", "one of them")


def _our_word(file_type: FileType, name: str) -> str:
    return OTHER_WORDS.get(file_type, {}).get(name, name)


def _words(types: list[FileType]) -> list[str]:
    """What these readers know, our own words first."""
    ours = [name for one in types for name in OPTIONS.get(one, {})]
    return list(dict.fromkeys([*ours, *(name for one in types for name in OTHER_WORDS.get(one, {}))]))


def _found(name: str, file_type: FileType | None) -> str:
    others = [one for one in FileType if OPTIONS.get(one, {}).get(_our_word(one, name))]
    if file_type is None:
        return name
    known = f", which is an option of {', '.join(others)} files" if others else ""
    return f"{name}{known} in a {file_type} file"


def _expected(name: str, types: list[FileType]) -> str:
    words = _words(types)
    if not words:
        return f"no option: {types[0]} files say themselves how they are read"
    close = get_close_matches(name, words, n=1, cutoff=0.6)
    listed = ", ".join(sorted({name for one in types for name in OPTIONS.get(one, {})}))
    return f"{close[0]} (there are {listed})" if close else f"one of {listed}"
