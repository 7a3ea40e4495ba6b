"""When something is due: cron lines in a time zone, read as Dagster reads them. Knows no clock."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from itertools import product
from typing import Annotated, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, field_validator

from vqa_pipeline.schemas import Frozen


class _CronField(NamedTuple):
    """One field of a cron line."""

    name: str
    values: range
    words: tuple[str, ...] = ()
    """What the values may be called, from the first on."""
    num_twice: int = 0
    """So many of the last values mean the same as the first ones: 7 is Sunday, as 0 is."""

    def read(self, text: str) -> set[int]:
        """The values that a field's text chooses."""
        return {value for item in text.lower().split(",") for value in self._read_item(item)}

    def _read_item(self, item: str) -> range:
        """A range needs two ends: Dagster takes `5-5` for `*`."""
        match = _CRON_ITEM.fullmatch(item)
        if match:
            first, last = self._read_ends(match["low"], match["high"], open_ended=bool(match["step"]))
            step, shortest = int(match["step"] or 1), int(bool(match["high"] or match["step"]))
            if first is not None and last is not None and last - first >= shortest and 0 < step <= len(self.values):
                return range(first, last + 1, step)
        words = f" or {self.words[0]} to {self.words[-1]}" if self.words else ""
        allowed = f"{self.values[0]} to {self.values[-1]}{words}, a range such as 1-5, *, or every second as */2"
        raise ValueError(f"{item!r} is no {self.name}: write {allowed}; several are separated by commas")

    def _read_ends(self, low: str | None, high: str | None, *, open_ended: bool) -> tuple[int | None, int | None]:
        """None for one that is out of range."""
        end = self.values[-1 - self.num_twice]
        if low is None:
            return self.values[0], end
        first = self._read_value(low)
        return first, self._read_value(high) if high else end if open_ended else first

    def _read_value(self, text: str) -> int | None:
        """None when it is out of range."""
        value = self.values[0] + self.words.index(text) if text in self.words else int(text) if text.isdigit() else -1
        return value if value in self.values else None


_CRON_ITEM = re.compile(r"(?:\*|(?P<low>\w+)(?:-(?P<high>\w+))?)(?:/(?P<step>\d{1,3}))?", re.ASCII)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_LONGEST_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_CRON_FIELDS = (
    _CronField("minute", range(60)),
    _CronField("hour", range(24)),
    _CronField("day of month", range(1, 32)),
    _CronField("month", range(1, 13), _MONTHS),
    _CronField("day of week", range(8), ("sun", "mon", "tue", "wed", "thu", "fri", "sat"), 1),
)


def check_cron(cron: str) -> str:
    """Plain cron only: whatever passes here is a schedule to Dagster, which would complain far from this line.

    Raises:
        ValueError: it is no cron line, or a day that never comes.
    """
    texts = cron.split()
    if len(texts) != len(_CRON_FIELDS):
        raise ValueError("a cron line has five fields, such as `0 2 * * *`")
    _, _, days, months, _ = (field.read(text) for field, text in zip(_CRON_FIELDS, texts, strict=True))
    if min(days) > max(_LONGEST_MONTH[month - 1] for month in months):
        raise ValueError(f"day {min(days)} is in none of its months")
    return cron


CronLine = Annotated[str, AfterValidator(check_cron)]
"""Minute, hour, day of month, month, day of week."""


class CronSettings(Frozen):
    """Train again at these times, if the content changed since the last training was requested."""

    cron: CronLine = Field(description="Five cron fields: minute, hour, day of month, month, day of week.")
    timezone: str = Field("UTC", description="IANA time zone of the cron fields, such as Europe/Berlin.")

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, timezone: str) -> str:
        try:
            ZoneInfo(timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"{timezone!r} is not an IANA time zone such as Europe/Berlin") from error
        return timezone

    def find_next(self, after: datetime) -> datetime:
        """The first time after `after`, which is aware; in the schedule's time zone.

        As Dagster reads it: where both days are restricted, either will do; a field that names all its days restricts
        nothing beside one with a star. A time that the clocks skip in spring comes when they have been put forward.
        """
        minutes, hours, *_ = self._read()
        zone = ZoneInfo(self.timezone)
        day = after.astimezone(zone).date() - timedelta(days=1)  # yesterday's times may have been put forward
        while True:
            if self._includes(day):
                for hour, minute in product(sorted(hours), sorted(minutes)):
                    local = datetime.combine(day, time(hour, minute), zone)
                    came = local.astimezone(UTC).astimezone(zone)
                    if came.astimezone(UTC) > after.astimezone(UTC):
                        return came
            day += timedelta(days=1)

    def _includes(self, day: date) -> bool:
        _, _, days, months, weekdays = self._read()
        *_, day_text, _, weekday_text = self.cron.split()
        weekdays = {weekday % 7 for weekday in weekdays}
        by_day, by_weekday = day.day in days, day.isoweekday() % 7 in weekdays
        if day.month not in months:
            return False
        takes_any_day = "*" in day_text.split(",") or (days == set(range(1, 32)) and "*" in weekday_text)
        takes_any_weekday = "*" in weekday_text.split(",") or (weekdays == set(range(7)) and "*" in day_text)
        return (by_day and by_weekday) if takes_any_day or takes_any_weekday else (by_day or by_weekday)

    def _read(self) -> list[set[int]]:
        return [field.read(text) for field, text in zip(_CRON_FIELDS, self.cron.split(), strict=True)]
