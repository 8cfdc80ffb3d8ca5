"""The first observation window of a new version, and the circuit breaker. Pure.

::

                 promoted                     passed, or judged no more
        quiet ─────────────► on trial ───────────────────────────────► quiet
                                │
                                │ worse than the version before: roll back
                                ▼
                           breaker open ── a person or the schedule trains ──► closed
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from mlinfra.retraining.triggers import MonitorOutcome, MonitorResult, Request, RetrainingTrigger

CONTROL_LIMIT = 3.0
"""Standard errors that a loss must exceed what is allowed by, as on Shewhart's control charts: a version is
looked at many times while it is on trial, and chance alone must hardly ever take it back."""
MONITORS = (RetrainingTrigger.DRIFT, RetrainingTrigger.PERFORMANCE)


@dataclass(frozen=True, slots=True)
class ObservationRule:
    """How a new version is watched.

    Attributes:
        length: how long it is on trial.
        max_loss: it does worse where its performance is worse by more than this, beyond what chance explains.
    """

    length: timedelta = timedelta(days=1)
    max_loss: float = 0.02


@dataclass(frozen=True, slots=True)
class Trial:
    """A new version that still has to show that it is no worse than the one before.

    Attributes:
        version: the new version.
        previous: the one before.
        until: when it has passed.
        baseline: what the version before came to in its last windows.
    """

    version: str
    previous: str
    since: datetime
    until: datetime
    baseline: MonitorResult


@dataclass(frozen=True, slots=True)
class Breaker:
    """An open circuit breaker: the monitors ask for no training.

    Attributes:
        opened: when it opened.
        version: the version that was rolled back.
        message: why, for people.
    """

    opened: datetime
    version: str
    message: str


@dataclass(frozen=True, slots=True)
class Rollback:
    """Production goes back from one version to the one before."""

    version: str
    previous: str
    message: str


@dataclass(frozen=True, slots=True)
class Watch:
    """What is remembered of promotions between two looks.

    Attributes:
        trial: the version that is on trial.
        breaker: open since a rollback; None while it is closed.
    """

    trial: Trial | None = None
    breaker: Breaker | None = None

    def promoted(
        self,
        version: str,
        *,
        previous: str | None,
        baseline: MonitorResult | None,
        rule: ObservationRule,
        now: datetime,
    ) -> "Watch":
        """After a version took Production.

        It is on trial where there is something to compare with: a version before, and its performance.

        Args:
            version: the new one.
            previous: the one before.
            baseline: the last check of the performance of the one before.
            rule: how the new one is watched.
            now: when it took Production.
        """
        if previous is None or baseline is None or baseline.score is None:
            return replace(self, trial=None)
        return replace(self, trial=Trial(version, previous, now, now + rule.length, baseline))

    def observed(
        self,
        performance: MonitorResult | None,
        *,
        rule: ObservationRule,
        higher_is_better: bool,
        now: datetime,
    ) -> "tuple[Watch, Rollback | None]":
        """After a check of the version on trial.

        It is judged by measured performance against measured, by estimated only against estimated. Its
        trial is over by the clock, or by event time once it was judged: in a replay of old events years pass
        in minutes.

        Args:
            performance: the newest check; of another version, or of too few samples, it judges nothing.
            rule: how it is watched.
            higher_is_better: of the measure.
            now: when it was checked.

        Returns:
            What is remembered then, and the rollback to carry out.
        """
        trial = self.trial
        if trial is None:
            return self, None
        loss = _loss(trial, performance, higher_is_better=higher_is_better)
        if loss is not None and loss > rule.max_loss:
            assert performance is not None
            message = (
                f"version {trial.version} has {performance.metric} {performance.score:.4g} in its first "
                f"observation window, version {trial.previous} had {trial.baseline.score:.4g} in its last"
            )
            breaker = Breaker(now, trial.version, message)
            return Watch(breaker=breaker), Rollback(trial.version, trial.previous, message)
        over = now >= trial.until or (loss is not None and _reaches(performance, trial, rule))
        return (replace(self, trial=None) if over else self), None

    def allowed(self, requests: Sequence[Request]) -> tuple[Request, ...]:
        """The requests that may be served: none of a monitor while the breaker is open."""
        if self.breaker is None:
            return tuple(requests)
        return tuple(request for request in requests if request.trigger not in MONITORS)

    def started(self, request: Request) -> "Watch":
        """After a training started: one that a person or the schedule asked for closes the breaker."""
        return self if request.trigger in MONITORS else replace(self, breaker=None)


def _loss(trial: Trial, performance: MonitorResult | None, *, higher_is_better: bool) -> float | None:
    """By how much the new version is worse beyond what chance explains; None where nothing can be said."""
    baseline = trial.baseline
    if (
        performance is None
        or performance.score is None
        or baseline.score is None
        or performance.outcome not in (MonitorOutcome.OK, MonitorOutcome.BREACHED)
        or performance.metric != baseline.metric
        or performance.estimated != baseline.estimated
        or not _is_of(performance, trial)
    ):
        return None
    difference = baseline.score - performance.score
    chance = CONTROL_LIMIT * math.hypot(baseline.standard_error or 0.0, performance.standard_error or 0.0)
    return (difference if higher_is_better else -difference) - chance


def _reaches(performance: MonitorResult | None, trial: Trial, rule: ObservationRule) -> bool:
    """Whether a check looks as far beyond the last one of the version before as a trial is long."""
    return performance is not None and performance.window_end >= trial.baseline.window_end + rule.length


def _is_of(performance: MonitorResult, trial: Trial) -> bool:
    """Whether a check is of the version on trial; where it names none, by when its windows began."""
    if performance.model_version:
        return performance.model_version == trial.version
    return performance.window_start is None or performance.window_start >= trial.since
