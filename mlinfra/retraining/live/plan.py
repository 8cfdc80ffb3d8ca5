"""What a replay sends when: each row at its event time, its label at the first check after it is known.

Pure.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Stretch:
    """What happens up to a check.

    Attributes:
        asked: positions of the rows that the model is asked about, in order.
        told: positions of the rows whose labels it is told then.
        now: event time of the check.
    """

    asked: range
    told: range
    now: datetime


def stretches(times: Sequence[datetime], *, delay: timedelta, rows: int) -> Iterator[Stretch]:
    """The stretches of a replay; the last one waits for the labels that are still to come.

    Args:
        times: event time of each row, none earlier than the one before.
        delay: how long after its row a label is known, not negative.
        rows: how many rows are asked about between two checks.
    """
    told = 0
    for start in range(0, len(times), rows):
        asked = range(start, min(start + rows, len(times)))
        now, before = times[asked[-1]], told
        while told < asked.stop and times[told] + delay <= now:
            told += 1
        yield Stretch(asked, range(before, told), now)
    if told < len(times):
        yield Stretch(range(len(times), len(times)), range(told, len(times)), times[-1] + delay)
