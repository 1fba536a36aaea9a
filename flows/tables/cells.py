"""Cells of sheets as text: one form for all of a column."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

ORIGIN_YEAR = 1900
ORIGIN = datetime(1899, 12, 31)  # noqa: DTZ001
"""What sheets call the day 0."""


@dataclass
class Form:
    """How the cells of one column are written, as far as they need one form."""

    moments: bool = False
    """Days are moments too, because one of its cells has a day and a time."""
    elapsed: bool = False
    """Times are hours, minutes and seconds, because one of its cells may have more than a day of them."""
    fractions: bool = False
    """Seconds have three digits behind the point, because those of one of its cells do."""
    times: bool = False
    days: bool = False

    def see(self, value: object) -> None:
        """Take a cell into account."""
        match value:
            case datetime() | time():
                self.moments = self.moments or isinstance(value, datetime)
                self.times = self.times or isinstance(value, time)
                self.days = self.days or (isinstance(value, datetime) and value.year > ORIGIN_YEAR)
                self.fractions = self.fractions or value.microsecond != 0
            case date():
                self.days = self.days or value.year > ORIGIN_YEAR
            case timedelta():
                self.elapsed = True
                self.fractions = self.fractions or value.microseconds != 0

    @property
    def hours(self) -> bool:
        """Whether its cells are hours, minutes and seconds, of which there may be more than a day.

        Beside times of a day, a moment in January 1900 is a time of more than one.
        """
        return self.elapsed or (self.times and not self.days)

    def text(self, value: object) -> str:
        """A cell as it is written; an empty one as the empty text."""
        match value:
            case bool():
                return "true" if value else "false"
            case float() if value.is_integer():
                return str(int(value))
            case date() | time() | timedelta():
                return self._elapsed(value) if self.hours else self._dated(value)
            case _:
                return str(value)

    def _dated(self, value: date | time | timedelta) -> str:
        match value:
            case datetime() | time():
                return value.isoformat(timespec=self._timespec)
            case date() if self.moments:
                return datetime.combine(value, time()).isoformat(timespec=self._timespec)
            case date():
                return value.isoformat()
            case _:
                return self._elapsed(value)

    def _elapsed(self, value: date | time | timedelta) -> str:
        """As sheets show it: `255:10:10`; a day that is meant as one stays a day."""
        match value:
            case timedelta():
                return self._hours(value)
            case time():
                return self._hours(datetime.combine(ORIGIN, value) - ORIGIN)
            case _ if self.days:
                return self._dated(value)
            case datetime():
                return self._hours(value - ORIGIN)
            case _:
                return self._hours(datetime.combine(value, time()) - ORIGIN)

    @property
    def _timespec(self) -> str:
        return "milliseconds" if self.fractions else "seconds"

    def _hours(self, value: timedelta) -> str:
        minutes, seconds = divmod(abs(value), timedelta(minutes=1))
        hours, minutes = divmod(minutes, 60)
        rest = f".{seconds.microseconds // 1000:03}" if self.fractions else ""
        sign = "-" if value < timedelta() else ""
        return f"{sign}{hours:02}:{minutes:02}:{seconds.seconds:02}{rest}"


def texts(values: Iterable[object]) -> list[str]:
    """Cells as text, each in the form that it has by itself."""
    made = []
    for value in values:
        form = Form()
        form.see(value)
        made.append(form.text(value))
    return made
