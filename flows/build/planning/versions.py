"""Versions by what they mean: a total order, the newest, and the next one."""

import re
from collections.abc import Iterable
from datetime import date, timedelta
from typing import NamedTuple

from flows.build.recipe.schema import VersionType

_RELEASES = ("prelim", "exec", "adopt")
_FULL_YEAR = r"(?P<year>(?:19|20|21)\d{2})"
_YEAR = r"(?P<year>(?:19|20|21)\d{2}|\d{2})"
_MONTH = r"(?P<month>0[1-9]|1[0-2])"
_DAY = rf"{_FULL_YEAR}(?P<mark>[-_.]?){_MONTH}(?P=mark)(?P<day>\d{{2}})"
_PATCH = r"(?:\.(?P<patch>\d+))?"
_GRAMMARS = {
    "year": re.compile(rf"{_FULL_YEAR}{_PATCH}", re.ASCII),
    "fiscal": re.compile(rf"FY{_YEAR}{_PATCH}", re.ASCII),
    "budget": re.compile(rf"{_YEAR}(?P<release>prelim|exec|adopt){_PATCH}", re.ASCII),
    "lettered": re.compile(rf"{_YEAR}(?P<letter>[A-Za-z]){_PATCH}", re.ASCII),
    "numbered": re.compile(rf"{_YEAR}v(?P<major>\d+)(?:\.(?P<minor>\d+)(?:\.(?P<patch>\d+))?)?", re.ASCII),
    "quarter": re.compile(rf"{_YEAR}(?P<mark>[-_]?[Qq])(?P<quarter>[1-4]){_PATCH}", re.ASCII),
    "month": re.compile(rf"{_FULL_YEAR}(?P<mark>[-_]?){_MONTH}{_PATCH}", re.ASCII),
    "day": re.compile(rf"{_DAY}{_PATCH}", re.ASCII),
    "dated": re.compile(rf"(?:.*\D)?{_DAY}(?:\d{{4}}|\d{{6}})?(?:\D.*)?", re.ASCII),
}
_LONGEST_FIRST = tuple(_GRAMMARS)
"""Of versions that begin on one day, the one that stands for the longest time comes first."""
_POINTS = re.compile(r"(?:.*[^a-z])?(?:latest|newest|current|recent)(?:[^a-z].*)?")
_POINTERS = frozenset(
    {
        *("now", "today", "last", "prev", "previous", "next", "head", "tip", "trunk", "main", "master"),
        *("default", "live", "stable", "edge", "rolling", "nightly"),
    }
)


class NotBumpableError(ValueError):
    """The version has no next one."""


class Parsed(NamedTuple):
    """A version of one of the grammars."""

    grammar: str
    year: int
    parts: tuple[int, ...]
    patch: int
    mark: str = ""
    """What stands between its parts."""
    year_digits: int = 4

    def __str__(self) -> str:
        patch = f".{self.patch}" if self.patch else ""
        year = f"{self.year:04d}" if self.year_digits == 4 else f"{self.year % 100:02d}"
        match self.grammar:
            case "quarter":
                return f"{year}{self.mark}{self.parts[0]}{patch}"
            case "budget":
                return f"{year}{_RELEASES[self.parts[0]]}{patch}"
            case "numbered":
                major, minor = self.parts
                return f"{year}v{major}" + (f".{minor}" if minor or patch else "") + patch
            case "month":
                return f"{year}{self.mark}{self.parts[0]:02d}{patch}"
            case "day":
                month, day = self.parts
                return f"{year}{self.mark}{month:02d}{self.mark}{day:02d}{patch}"
            case "year":
                return f"{year}{patch}"
            case _:
                return f"FY{year}{patch}"

    @property
    def first_day(self) -> date:
        """The first day that it may mean, where two grammars are compared."""
        match self.grammar:
            case "fiscal":
                return date(self.year - 1, 7, 1)
            case "budget":
                return date(self.year - 1, 1, 1)
            case _:
                return self.begins

    @property
    def begins(self) -> date:
        """The day by which it is ordered among those of other grammars."""
        match self.grammar:
            case "quarter":
                return date(self.year, 3 * self.parts[0] - 2, 1)
            case "month":
                return date(self.year, self.parts[0], 1)
            case "day" | "dated":
                return date(self.year, *self.parts)
            case _:
                return date(self.year, 1, 1)

    @property
    def last_day(self) -> date:
        """The last day that it may mean, where two grammars are compared."""
        match self.grammar:
            case "quarter":
                return _next(self, 1).begins - timedelta(days=1)
            case "month":
                return _next(self, 1).begins - timedelta(days=1)
            case "day" | "dated":
                return self.begins
            case _:
                return date(self.year, 12, 31)


def is_alias(name: str) -> bool:
    """Whether a name is no version but points at a changing one: `latest`, `current`, `2024-latest`."""
    lowered = name.lower()
    return lowered in _POINTERS or _POINTS.fullmatch(lowered) is not None


def parse(version: str) -> Parsed | None:
    """The meaning of a version, or None where it is of no grammar.

    Grammars: `2024`, `FY2024`, `26prelim` / `26exec` / `26adopt`, `24a`, `25v1.2.3`, `24Q4` or `2024-Q4`,
    `2024-05` or `202405`, `2024-05-01` or `20240501`; each may have a `.patch`. And whatever else has one
    whole date in it: `export_20240501`.
    """
    for grammar, pattern in _GRAMMARS.items():
        if found := pattern.fullmatch(version):
            return _parsed(grammar, found.groupdict())
    return None


def _parsed(grammar: str, text: dict[str, str | None]) -> Parsed | None:
    written = text["year"] or ""
    year = int(written) + (2000 if len(written) == 2 else 0)
    parts = _parts(grammar, {name: value or "0" for name, value in text.items()})
    if not _is_date(year, *(parts if grammar in ("day", "dated") else (1, 1))):
        return None
    return Parsed(grammar, year, parts, int(text.get("patch") or 0), text.get("mark") or "", len(written))


def _parts(grammar: str, text: dict[str, str]) -> tuple[int, ...]:
    match grammar:
        case "quarter":
            return (int(text["quarter"]),)
        case "budget":
            return (_RELEASES.index(text["release"]),)
        case "lettered":
            return (ord(text["letter"].lower()),)
        case "numbered":
            return int(text["major"]), int(text["minor"])
        case "month":
            return (int(text["month"]),)
        case "day" | "dated":
            return int(text["month"]), int(text["day"])
        case _:
            return ()


def _is_date(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True


Natural = tuple[tuple[int, int, str], ...]
SortKey = tuple[date, int, tuple[int, ...], int, Natural, str]


def order(version: str) -> SortKey:
    """The sort key of a version. No two different versions have the same one.

    What is of no grammar comes first, by natural order. What is, by the day on which it begins, then by
    grammar and meaning.
    """
    parsed = parse(version)
    if parsed is None:
        return (date.min, 0, (), 0, _natural(version), version)
    rank = _LONGEST_FIRST.index(parsed.grammar)
    return (parsed.begins, rank, parsed.parts, parsed.patch, _natural(version), version)


def _natural(text: str) -> Natural:
    runs = re.findall(r"[0-9]+|[^0-9]+", text)
    return tuple((0, int(run), "") if run[0] in "0123456789" else (1, 0, run) for run in runs)


def newest(versions: Iterable[str]) -> str | None:
    """The last one in the order that is no alias, or None where there is none."""
    return max((version for version in versions if not is_alias(version)), key=order, default=None)


def newest_before(versions: Iterable[str], version: str) -> str | None:
    """The last one in the order that comes before `version`, or None where there is none."""
    return newest(other for other in versions if order(other) < order(version))


def rivals(taken: str, versions: Iterable[str]) -> list[str]:
    """Those versions that may be as new as the one that was taken for the newest, latest first."""
    others = (other for other in versions if other != taken and not is_alias(other))
    return sorted((other for other in others if not _is_before(other, taken)), key=order, reverse=True)


def _is_before(one: str, other: str) -> bool:
    """Whether a version is clearly older: by one grammar, one way of writing, or dates that do not meet."""
    first, second = parse(one), parse(other)
    if first is None or second is None:
        alike = first is second and _shape(one) == _shape(other)
        return alike and _natural(one) < _natural(other)
    if first.grammar == second.grammar:
        return order(one)[:4] < order(other)[:4]
    return first.last_day < second.first_day


def _shape(version: str) -> str:
    return re.sub(r"[0-9]+(\.[0-9]+)*", "0", version)


def bump(version: str, version_type: VersionType | None = None, steps: int = 1) -> str:
    """The next version of the same grammar, `steps` further.

    Days, months, quarters, years and budgets go to the next one; `25v1` by `version_type`, by default its
    major number. With `patch` any grammar gets another patch number.

    Raises:
        NotBumpableError: where the version is of no grammar, or has no such next one.
    """
    parsed = parse(version)
    if parsed is None or parsed.grammar in ("lettered", "dated"):
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
