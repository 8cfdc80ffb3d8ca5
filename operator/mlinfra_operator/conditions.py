"""Conditions as kstatus reads them, and the Events that their changes deserve. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from mlinfra.resources.base import Condition

ConditionStatus = Literal["True", "False", "Unknown"]
EventType = Literal["Normal", "Warning"]
MAX_MESSAGE_LENGTH = 2000


@dataclass(frozen=True, slots=True)
class Observation:
    """A condition as it is now, without its history."""

    type: str
    status: ConditionStatus
    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """An Event to post on the object."""

    type: EventType
    reason: str
    message: str


def ready(reason: str, message: str = "") -> tuple[Observation, ...]:
    """All that was asked for is done."""
    return (
        Observation("Ready", "True", reason, message),
        Observation("Reconciling", "False", reason),
        Observation("Stalled", "False", reason),
    )


def reconciling(reason: str, message: str = "") -> tuple[Observation, ...]:
    """Work goes on, or waits for what may come."""
    return (
        Observation("Ready", "False", reason, message),
        Observation("Reconciling", "True", reason, message),
        Observation("Stalled", "False", reason),
    )


def stalled(reason: str, message: str) -> tuple[Observation, ...]:
    """Nothing more will happen unless a person changes something."""
    return (
        Observation("Ready", "False", reason, message),
        Observation("Reconciling", "False", reason),
        Observation("Stalled", "True", reason, message),
    )


def merge(
    old: Sequence[Condition], new: Iterable[Observation], *, generation: int, now: datetime
) -> list[Condition]:
    """The new conditions; the transition time changes only where the status did."""
    before = {condition.type: condition for condition in old}
    merged = []
    for observation in new:
        earlier = before.get(observation.type)
        kept = earlier is not None and earlier.status == observation.status
        merged.append(
            Condition(
                type=observation.type,
                status=observation.status,
                reason=observation.reason,
                message=observation.message[:MAX_MESSAGE_LENGTH],
                last_transition_time=earlier.last_transition_time
                if kept and earlier is not None
                else timestamp(now),
                observed_generation=generation,
            )
        )
    return merged


def find(conditions: Sequence[Condition], type_: str) -> Condition | None:
    """The condition of a type, where there is one."""
    return next((condition for condition in conditions if condition.type == type_), None)


def reason_of(conditions: Sequence[Condition], type_: str) -> str | None:
    """The reason of a condition, where there is one."""
    found = find(conditions, type_)
    return found.reason if found else None


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC, to the second."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
