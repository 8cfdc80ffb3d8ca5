"""What may ask for a training, and what a monitor may say. Plain values."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class RetrainingTrigger(StrEnum):
    """Why a model is trained again."""

    MANUAL = "manual"
    SCHEDULED = "scheduled"
    PERFORMANCE = "performance"
    DRIFT = "drift"


class MonitorOutcome(StrEnum):
    """What a check of the served model came to; too few samples are neither good nor bad."""

    OK = "ok"
    BREACHED = "breached"
    INCONCLUSIVE = "inconclusive"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class MonitorResult:
    """One check of drift or performance, over one window of what was served.

    Attributes:
        trigger: DRIFT or PERFORMANCE.
        outcome: what the check came to.
        window_end: end of the window; one window asks for one training at most.
        score: the measured value; None where there is none.
        threshold: what it was compared with.
        message: what a person should know.
    """

    trigger: RetrainingTrigger
    outcome: MonitorOutcome
    window_end: datetime
    score: float | None = None
    threshold: float | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """Something asks for a training now.

    Attributes:
        trigger: what kind of thing.
        key: tells it from other requests of its kind: the scheduled time, the value of the annotation,
            the end of the window. One key is trained once.
        message: why, for people.
        due: since when; a training that started then or later answers it, whatever asked for that one.
            None where only a training of its own does: a person asked.
    """

    trigger: RetrainingTrigger
    key: str
    message: str
    due: datetime | None = None


def monitor_requests(results: tuple[MonitorResult, ...]) -> tuple[Request, ...]:
    """What the monitors ask for: only a breach asks."""
    return tuple(
        Request(result.trigger, result.window_end.isoformat(), result.message, result.window_end)
        for result in results
        if result.outcome is MonitorOutcome.BREACHED
    )
