"""Cron schedules in a time zone. Pure.

Five fields as Debian's cron reads them, or one of its macros. A time that a change to summer time skips is
due right after the gap; one that a change back repeats is due once.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import ClassVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from mlinfra.errors import InvalidInputError

FIELDS = 5
LONGEST_CHANGE = timedelta(hours=3)
"""More than clocks are set forwards or back by."""
MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


class InvalidScheduleError(InvalidInputError):
    """A schedule that is no cron expression, or a time zone that there is not."""

    reason: ClassVar[str] = "InvalidSchedule"


@dataclass(frozen=True, slots=True)
class Schedule:
    """Points in time; make it with `parse_schedule`.

    Attributes:
        expression: five fields of cron.
        zone: the time zone that they are read in.
    """

    expression: str
    zone: ZoneInfo

    def next(self, after: datetime) -> datetime | None:
        """The first time after a moment, in UTC; None where there is none in the next decades."""
        return next(self._times(after), None)

    def latest(self, until: datetime, *, after: datetime) -> datetime | None:
        """The last time after one moment and until another one, in UTC; None where there is none."""
        # The iteration backwards leaves its start out, and skips times in an hour that is repeated.
        start = until.replace(microsecond=0) + timedelta(seconds=1)
        for earlier in CronSim(self.expression, start.astimezone(self.zone), reverse=True):
            since = max(after, earlier.astimezone(UTC) - LONGEST_CHANGE)
            found = list(takewhile(lambda time: time <= until, self._times(since)))
            if found or since == after:
                return found[-1] if found else None
        return None

    def _times(self, after: datetime) -> Iterator[datetime]:
        """All times after a moment, in UTC."""
        start, before = (each.astimezone(self.zone) for each in (after, after - LONGEST_CHANGE))
        if start.utcoffset() != before.utcoffset():
            # An iteration that begins within an hour that is repeated, or skipped, is none of that hour.
            start = before
        times = (time.astimezone(UTC) for time in CronSim(self.expression, start))
        return (time for time in times if time > after)


def parse_schedule(expression: str, time_zone: str | None = None) -> Schedule:
    """The schedule that a cron expression describes.

    Args:
        expression: five fields, such as ``0 3 * * *``, or a macro, such as ``@daily``.
        time_zone: name of the time zone, such as ``Europe/Berlin``; UTC where absent.

    Raises:
        InvalidScheduleError: the expression or the time zone is none.
    """
    fields = MACROS.get(expression.strip(), expression).replace("?", "*").split()
    if len(fields) != FIELDS:
        raise InvalidScheduleError(
            f'schedule "{expression}" has {len(fields)} fields and not the five of cron: minute, hour, '
            'day of month, month, day of week; such as "0 3 * * *" for each day at 3:00'
        )
    try:
        CronSim(" ".join(fields), datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        raise InvalidScheduleError(f'schedule "{expression}": {str(error).lower()}') from error
    try:
        zone = ZoneInfo(time_zone or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidScheduleError(
            f'timeZone "{time_zone}" is no name of the IANA time zone database, such as Europe/Berlin'
        ) from error
    return Schedule(" ".join(fields), zone)
