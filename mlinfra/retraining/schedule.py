"""Cron schedules in a time zone. Pure.

Five fields as Debian's cron reads them, or one of its macros. A time that a change to summer time skips is
due right after the gap; one that a change back repeats is due once.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from mlinfra.errors import InvalidInputError

FIELDS = 5
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
        return _first(CronSim(self.expression, after.astimezone(self.zone)))

    def latest(self, until: datetime, *, after: datetime) -> datetime | None:
        """The last time after one moment and until another one, in UTC; None where there is none."""
        # The iteration backwards leaves its start out.
        start = until.astimezone(self.zone) + timedelta(seconds=1)
        found = _first(CronSim(self.expression, start.replace(microsecond=0), reverse=True))
        return found if found is not None and found > after else None


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


def _first(times: CronSim) -> datetime | None:
    found = next(times, None)
    return found.astimezone(UTC) if found is not None else None
