"""Whether a training starts now: what asks for it, against what the policy allows. Pure.

The same function decides in the operator and in the pipeline without Kubernetes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from mlinfra.retraining.triggers import Request, RetrainingTrigger

ConcurrencyPolicy = Literal["Allow", "Forbid", "Replace"]
DAY = timedelta(days=1)
PRECEDENCE = tuple(RetrainingTrigger)
"""Of several requests the first of these is served."""


@dataclass(frozen=True, slots=True)
class Training:
    """A training that a policy started; ``active`` until it has come to its end.

    Attributes:
        started: when, by the clock that schedules and limits follow.
        events_until: up to which event time the monitors' evidence for it reached; None where a monitor did
            not ask for it. A replay of old events has them long before ``started``.
    """

    name: str
    started: datetime
    active: bool
    events_until: datetime | None = None

    def answers(self, request: Request) -> bool:
        """Whether the training began when what is asked for was due already, or later."""
        if request.due is None:
            return False
        reached = self.events_until if request.evidence and self.events_until else self.started
        return reached >= request.due


@dataclass(frozen=True, slots=True)
class Limits:
    """What a policy allows.

    Attributes:
        concurrency: whether a training may start while another one is active, or in its place.
        cooldown: the least time from the start of one training to the next; a person need not wait.
        max_runs_per_day: the most trainings that start in any 24 hours, whoever asks for them.
    """

    concurrency: ConcurrencyPolicy = "Forbid"
    cooldown: timedelta = timedelta(0)
    max_runs_per_day: int | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """A training starts now; those named in ``replaces`` are stopped first."""

    request: Request
    replaces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hold:
    """A request waits.

    Attributes:
        request: what waits.
        reason: what for, in CamelCase.
        message: what for, for people.
        until: when to look again; None where something else has to end first.
    """

    request: Request
    reason: str
    message: str
    until: datetime | None = None


def decide(
    requests: Sequence[Request], trainings: Sequence[Training], limits: Limits, now: datetime
) -> Start | Hold | None:
    """What to do about the requests; None where there is none that is not answered.

    Args:
        requests: what asks for a training and has had none yet.
        trainings: those of this policy that are active or started within the last day or cool-down.
        limits: what the policy allows.
        now: the time to decide for.
    """
    unanswered = [
        request for request in requests if not any(training.answers(request) for training in trainings)
    ]
    if not unanswered:
        return None
    request = min(unanswered, key=lambda each: (PRECEDENCE.index(each.trigger), each.key))
    held = _held_by_budget(request, trainings, limits, now) or _held_by_cooldown(
        request, trainings, limits, now
    )
    if held is not None:
        return held
    active = tuple(training.name for training in trainings if training.active)
    if active and limits.concurrency == "Forbid":
        return Hold(request, "TrainingActive", f"waits until {', '.join(active)} has come to its end")
    return Start(request, active if limits.concurrency == "Replace" else ())


def _held_by_budget(
    request: Request, trainings: Sequence[Training], limits: Limits, now: datetime
) -> Hold | None:
    most = limits.max_runs_per_day
    recent = sorted(training.started for training in trainings if training.started > now - DAY)
    if most is None or len(recent) < most:
        return None
    until = recent[len(recent) - most] + DAY
    message = f"{len(recent)} trainings started within 24 hours, as many as maxRunsPerDay allows"
    return Hold(request, "MaxRunsPerDayReached", message, until)


def _held_by_cooldown(
    request: Request, trainings: Sequence[Training], limits: Limits, now: datetime
) -> Hold | None:
    if request.trigger is RetrainingTrigger.MANUAL or not trainings:
        return None
    until = max(training.started for training in trainings) + limits.cooldown
    if until <= now:
        return None
    seconds = limits.cooldown.total_seconds()
    return Hold(request, "CoolingDown", f"the last training started less than {seconds:.0f} s ago", until)
