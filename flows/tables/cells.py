"""Cells of sheets as text: one form for all of a column."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta


@dataclass
class Form:
    """How the cells of one column are written, as far as they need one form."""

    moments: bool = False
    """Days are moments too, because one of its cells has a day and a time."""
    elapsed: bool = False
    """Times are hours, minutes and seconds, because one of its cells may have more than a day of them."""
    fractions: bool = False
    """Seconds have three digits behind the point, because those of one of its cells do."""

    def see(self, value: object) -> None:
        """Take a cell into account."""
        match value:
            case datetime() | time():
                self.moments = self.moments or isinstance(value, datetime)
                self.fractions = self.fractions or value.microsecond != 0
            case timedelta():
                self.elapsed = True
                self.fractions = self.fractions or value.microseconds != 0

    def text(self, value: object) -> str:
        """A cell as it is written; an empty one as the empty text."""
        match value:
            case bool():
                return "true" if value else "false"
            case float() if value.is_integer():
                return str(int(value))
            case datetime():
                return value.isoformat(timespec=self._timespec)
            case date() if self.moments:
                return datetime.combine(value, time()).isoformat(timespec=self._timespec)
            case date():
                return value.isoformat()
            case time() if not self.elapsed:
                return value.isoformat(timespec=self._timespec)
            case time():
                return self._elapsed(datetime.combine(date.min, value) - datetime.combine(date.min, time()))
            case timedelta():
                return self._elapsed(value)
            case _:
                return str(value)

    @property
    def _timespec(self) -> str:
        return "milliseconds" if self.fractions else "seconds"

    def _elapsed(self, value: timedelta) -> str:
        """As sheets show it: `255:10:10`."""
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
