"""Versions by what they mean: a total order, the newest, and the next one."""

import re
from collections.abc import Iterable
from datetime import date, timedelta
from typing import NamedTuple

from flows.build.recipe.schema import VersionType

_RELEASES = ("prelim", "exec", "adopt")
_GRAMMARS = {
    "quarter": re.compile(r"(?P<year>\d{2})Q(?P<quarter>[1-4])(?:\.(?P<patch>\d+))?", re.ASCII),
    "budget": re.compile(r"(?P<year>\d{2})(?P<release>prelim|exec|adopt)(?:\.(?P<patch>\d+))?", re.ASCII),
    "numbered": re.compile(
        r"(?P<year>\d{2})v(?P<major>\d+)(?:\.(?P<minor>\d+)(?:\.(?P<patch>\d+))?)?", re.ASCII
    ),
    "month": re.compile(r"(?P<year>\d{4})-(?P<month>0[1-9]|1[0-2])(?:\.(?P<patch>\d+))?", re.ASCII),
    "day": re.compile(
        r"(?P<year>\d{4})(?P<dash>-?)(?P<month>\d{2})(?P=dash)(?P<day>\d{2})(?:\.(?P<patch>\d+))?", re.ASCII
    ),
    "fiscal": re.compile(r"FY(?P<year>\d{4}|\d{2})(?:\.(?P<patch>\d+))?", re.ASCII),
}
_ORDER = ("quarter", "budget", "numbered", "calendar", "fiscal")
"""Grammars within one year. This is the natural order of their texts, and unlike that it is transitive."""


class NotBumpableError(ValueError):
    """The version has no next one."""


class Parsed(NamedTuple):
    """A version of one of the grammars."""

    grammar: str
    year: int
    parts: tuple[int, ...]
    patch: int
    dash: str = "-"

    def __str__(self) -> str:
        patch = f".{self.patch}" if self.patch else ""
        year = f"{self.year % 100:02d}"
        match self.grammar:
            case "quarter":
                return f"{year}Q{self.parts[0]}{patch}"
            case "budget":
                return f"{year}{_RELEASES[self.parts[0]]}{patch}"
            case "numbered":
                major, minor = self.parts
                return f"{year}v{major}" + (f".{minor}" if minor or patch else "") + patch
            case "month":
                return f"{self.year:04d}-{self.parts[0]:02d}{patch}"
            case "day":
                month, day = self.parts
                return f"{self.year:04d}{self.dash}{month:02d}{self.dash}{day:02d}{patch}"
            case _:
                return f"FY{self.year if self.dash else year}{patch}"


def parse(version: str) -> Parsed | None:
    """The meaning of a version, or None where it is of no grammar.

    Grammars: `24Q4`, `26prelim` / `26exec` / `26adopt`, `25v1.2.3`, `2024-05`, `2024-05-01` or `20240501`,
    `FY2024`; each may have a `.patch`.
    """
    for grammar, pattern in _GRAMMARS.items():
        if found := pattern.fullmatch(version):
            return _parsed(grammar, found.groupdict())
    return None


def _parsed(grammar: str, text: dict[str, str | None]) -> Parsed | None:
    written = text["year"] or ""
    year = int(written) + (2000 if len(written) == 2 else 0)
    patch = int(text["patch"] or 0)
    match grammar:
        case "quarter":
            return Parsed(grammar, year, (int(text["quarter"] or 0),), patch)
        case "budget":
            return Parsed(grammar, year, (_RELEASES.index(text["release"] or ""),), patch)
        case "numbered":
            return Parsed(grammar, year, (int(text["major"] or 0), int(text["minor"] or 0)), patch)
        case "month":
            return Parsed(grammar, year, (int(text["month"] or 0),), patch)
        case "day":
            month, day = int(text["month"] or 0), int(text["day"] or 0)
            real = _is_date(year, month, day)
            return Parsed(grammar, year, (month, day), patch, text["dash"] or "") if real else None
        case _:
            return Parsed(grammar, year, (), patch, "-" if len(written) == 4 else "")


def _is_date(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True


Natural = tuple[tuple[int, int, str], ...]
SortKey = tuple[bool, int, int, tuple[int, ...], int, Natural, str]


def order(version: str) -> SortKey:
    """The sort key of a version. No two different versions have the same one.

    What is of no grammar comes first, by natural order. What is, by year, then grammar, then meaning; months
    and days are one grammar.
    """
    parsed = parse(version)
    if parsed is None:
        return (False, 0, 0, (), 0, _natural(version), version)
    grammar = "calendar" if parsed.grammar in ("month", "day") else parsed.grammar
    return (
        True,
        parsed.year,
        _ORDER.index(grammar),
        parsed.parts,
        parsed.patch,
        _natural(version),
        version,
    )


def _natural(text: str) -> Natural:
    runs = re.findall(r"[0-9]+|[^0-9]+", text)
    return tuple((0, int(run), "") if run[0] in "0123456789" else (1, 0, run) for run in runs)


def newest(versions: Iterable[str]) -> str | None:
    """The last one in the order, or None where there is none."""
    return max(versions, key=order, default=None)


def newest_before(versions: Iterable[str], version: str) -> str | None:
    """The last one in the order that comes before `version`, or None where there is none."""
    return newest(other for other in versions if order(other) < order(version))


def bump(version: str, version_type: VersionType | None = None, steps: int = 1) -> str:
    """The next version of the same grammar, `steps` further.

    Dates, months, quarters, years and budgets go to the next one; `25v1` by `version_type`, by default its
    major number. With `patch` any grammar gets another patch number.

    Raises:
        NotBumpableError: where the version is of no grammar, or has no such next one.
    """
    parsed = parse(version)
    if parsed is None:
        raise NotBumpableError(f"{version} is of no grammar that has a next version")
    bumped = _bumped(parsed, version_type, steps)
    if len(f"{bumped}") > 100 or order(str(bumped)) <= order(version):
        raise NotBumpableError(f"{version} has no next version that could be written")
    return str(bumped)


def _bumped(parsed: Parsed, version_type: VersionType | None, steps: int) -> Parsed:
    if version_type is VersionType.PATCH:
        return parsed._replace(patch=parsed.patch + steps)
    if parsed.grammar == "numbered":
        major, minor = parsed.parts
        parts = (major, minor + steps) if version_type is VersionType.MINOR else (major + steps, 0)
        return parsed._replace(parts=parts, patch=0)
    if version_type is VersionType.MINOR:
        raise NotBumpableError(f"{parsed} has no minor number")
    return _next(parsed._replace(patch=0), steps)


def _next(parsed: Parsed, steps: int) -> Parsed:
    match parsed.grammar:
        case "quarter":
            years, quarter = divmod(parsed.parts[0] - 1 + steps, 4)
            return parsed._replace(year=parsed.year + years, parts=(quarter + 1,))
        case "budget":
            years, release = divmod(parsed.parts[0] + steps, len(_RELEASES))
            return parsed._replace(year=parsed.year + years, parts=(release,))
        case "month":
            years, month = divmod(parsed.parts[0] - 1 + steps, 12)
            return parsed._replace(year=parsed.year + years, parts=(month + 1,))
        case "day":
            return _next_day(parsed, steps)
        case _:
            return parsed._replace(year=parsed.year + steps)


def _next_day(parsed: Parsed, steps: int) -> Parsed:
    try:
        day = date(parsed.year, *parsed.parts) + timedelta(days=steps)
    except OverflowError as error:
        raise NotBumpableError(f"{parsed} has no next day") from error
    return parsed._replace(year=day.year, parts=(day.month, day.day))
