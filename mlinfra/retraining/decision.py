"""Whether a training starts now: what asks for it, against what the policy allows. Pure.

The same function decides in the operator and in the pipeline without Kubernetes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from mlinfra.resources.retraining_policy import MAX_BACKOFF_FACTOR
from mlinfra.retraining.triggers import Request, RetrainingTrigger

ConcurrencyPolicy = Literal["Allow", "Forbid", "Replace"]
DAY = timedelta(days=1)
PRECEDENCE = tuple(RetrainingTrigger)
"""Of several requests the first of these is served."""
BACKED_OFF = (RetrainingTrigger.PERFORMANCE, RetrainingTrigger.DRIFT)
"""What asks again by itself for as long as a training does not help."""


@dataclass(frozen=True, slots=True)
class Training:
    """A training that a policy started; ``active`` until it has come to its end.

    Attributes:
        started: when, by the clock that schedules and limits follow.
        events_until: up to which event time the monitors' evidence for it reached; None where a monitor did
            not ask for it. A replay of old events has them long before ``started``.
        fruitless: as `came_to` tells; None where it says nothing of what monitors ask for.
    """

    name: str
    started: datetime
    active: bool
    events_until: datetime | None = None
    fruitless: bool | None = None

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
        max_backoff_factor: monitors wait twice as long after the second fruitless training in a row, and
            after each more, and at most so many times as long; 1 for never longer.
    """

    concurrency: ConcurrencyPolicy = "Forbid"
    cooldown: timedelta = timedelta(0)
    max_runs_per_day: int | None = None
    max_backoff_factor: int = MAX_BACKOFF_FACTOR


@dataclass(frozen=True, slots=True)
class Backoff:
    """How much longer monitors wait.

    Attributes:
        fruitless: trainings in a row, up to the newest that counts, that were.
        factor: times as long.
    """

    fruitless: int
    factor: int

    @property
    def why(self) -> str:
        """For people."""
        return f"the last {self.fruitless} trainings were not promoted: {self.factor} times as long"


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
    held = (
        _held_by_budget(request, trainings, limits, now)
        or _held_by_cooldown(request, trainings, limits, now)
        or _held_by_backoff(request, trainings, limits)
    )
    if held is not None:
        return held
    active = tuple(training.name for training in trainings if training.active)
    if active and limits.concurrency == "Forbid":
        return Hold(request, "TrainingActive", f"waits until {', '.join(active)} has come to its end")
    return Start(request, active if limits.concurrency == "Replace" else ())


def came_to(trigger: RetrainingTrigger, *, promoted: bool | None) -> bool | None:
    """`Training.fruitless` of a training that has come to its end.

    Where a person or the schedule asked nothing need have been wrong: only monitors' trainings are fruitless.

    Args:
        trigger: what asked for it.
        promoted: whether its version took its stage; False where it was not good enough, or there is none;
            None while that is open.
    """
    if promoted is None or (trigger not in BACKED_OFF and not promoted):
        return None
    return not promoted


def backoff(trainings: Sequence[Training], limits: Limits) -> Backoff:
    """How much longer monitors wait after these trainings."""
    fruitless = 0
    for training in sorted(trainings, key=lambda each: each.started, reverse=True):
        if training.fruitless is False:
            break
        fruitless += training.fruitless is True
    # After one of them windows that are newer as a whole are waited for in any case.
    return Backoff(fruitless, min(2 ** max(fruitless - 1, 0), limits.max_backoff_factor))


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
    longer = backoff(trainings if request.trigger in BACKED_OFF else (), limits)
    cooldown = limits.cooldown * longer.factor
    until = max(training.started for training in trainings) + cooldown
    if until <= now:
        return None
    message = f"the last training started less than {cooldown.total_seconds():.0f} s ago"
    if longer.factor > 1:
        message += f"; {longer.why} as the cool-down"
    return Hold(request, "CoolingDown", message, until)


def _held_by_backoff(request: Request, trainings: Sequence[Training], limits: Limits) -> Hold | None:
    """Windows that are a little newer say what the last ones said: no training since then helped."""
    longer = backoff(trainings, limits)
    if request.trigger not in BACKED_OFF or request.due is None or longer.factor == 1:
        return None
    last = max(trainings, key=lambda each: each.started)
    length = max((each.window_end for each in request.evidence), default=request.due) - request.due
    # The windows of the last request end where those of the next one begin at the earliest.
    since = (last.events_until or last.started) + length * (longer.factor - 1)
    if request.due >= since:
        return None
    message = (
        f"{longer.why} as the windows that asked; it waits for windows that begin at "
        f"{since.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ} or later"
    )
    return Hold(request, "BackingOff", message)
