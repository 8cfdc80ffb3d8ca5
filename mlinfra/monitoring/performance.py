"""Whether a model's answers are still good enough, by labels that came later or by an estimate. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from mlinfra.errors import InvalidInputError, suggestion
from mlinfra.monitoring.measured import WITHOUT_BOUND, Measured
from mlinfra.resources.monitoring import HIGHER_IS_BETTER, LOWER_IS_BETTER, PerformancePolicy
from mlinfra.retraining.triggers import MonitorOutcome, MonitorResult, RetrainingTrigger
from mlinfra.retraining.windows import outcome_of_windows
from mlinfra.training.measure_format import measure_text, measure_title

Source = Literal["measured", "estimated", "none"]
ONE_SIDED_95 = 1.645
"""Standard errors that a measure must lie beyond its limit: chance alone reaches that in one window of 20."""


class UnwatchableMetricError(InvalidInputError):
    """A policy watches a measure that the model does not have, or one without a better side or a limit."""

    reason = "UnwatchableMetric"


@dataclass(frozen=True, slots=True)
class AnswerWindow:
    """What is known of the answers in a stretch of event time.

    Attributes:
        first, last: event time of its first and last prediction.
        rows: how many predictions.
        labelled: of how many the label is known.
        measured: measures of those, by name.
        estimated: measures of all that were estimated without labels, by name.
    """

    first: datetime
    last: datetime
    rows: int
    labelled: int
    measured: Mapping[str, Measured]
    estimated: Mapping[str, Measured]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a policy says of one window.

    Attributes:
        window: what was looked at.
        source: how its measure is known.
        measure: the watched measure; None where it is not known.
        outcome: breached only where the measure is worse than the limit beyond its sampling error.
    """

    window: AnswerWindow
    source: Source
    measure: Measured | None
    outcome: MonitorOutcome


@dataclass(frozen=True, slots=True)
class PerformanceReport:
    """What a check of performance came to.

    Attributes:
        metric: what was watched.
        reference: its value on the test rows of the model's training; None where nobody knows.
        limit: what is worse breaches.
        verdicts: of the newest windows, the oldest first.
        result: for the policy.
    """

    metric: str
    reference: float | None
    limit: float | None
    verdicts: tuple[Verdict, ...]
    result: MonitorResult

    def to_wire(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "metric": self.metric,
            "reference": self.reference,
            "limit": self.limit,
            "windows": [_verdict_to_wire(each) for each in self.verdicts],
            "result": self.result.to_wire(),
        }

    @classmethod
    def of_wire(cls, wire: Mapping[str, Any]) -> "PerformanceReport":
        """What `to_wire` gave."""
        return cls(
            metric=wire["metric"],
            reference=wire["reference"],
            limit=wire["limit"],
            verdicts=tuple(_verdict_of_wire(each) for each in wire["windows"]),
            result=MonitorResult.of_wire(wire["result"]),
        )


def judge_performance(
    windows: Sequence[AnswerWindow],
    reference: Mapping[str, float],
    policy: PerformancePolicy,
    *,
    now: datetime,
) -> PerformanceReport:
    """Apply a policy to windows of answers.

    A window is judged by its labels where at least ``minSamples`` have come, else by the estimate where the
    policy allows one and there are as many predictions, else it is inconclusive. The check is breached where
    ``breachedWindows`` of the newest ``ofWindows`` are, and inconclusive where too few of them could be
    judged to tell.

    Args:
        windows: in the order of time.
        reference: what is expected, such as the measures on the test rows of the training, by name.
        policy: what is watched.
        now: the time of the check, in event time.
    """
    newest = windows[-policy.of_windows :]
    end = newest[-1].last if newest else now
    try:
        limit = performance_limit(policy, reference)
        _check_known(policy, newest)
    except UnwatchableMetricError as error:
        result = MonitorResult(
            RetrainingTrigger.PERFORMANCE,
            MonitorOutcome.ERROR,
            end,
            message=str(error),
            metric=policy.metric,
        )
        return PerformanceReport(policy.metric, reference.get(policy.metric), None, (), result)
    verdicts = tuple(_judged(window, policy, limit) for window in newest)
    return PerformanceReport(
        metric=policy.metric,
        reference=reference.get(policy.metric),
        limit=limit,
        verdicts=verdicts,
        result=_result(verdicts, policy, limit, reference.get(policy.metric), end),
    )


def performance_limit(policy: PerformancePolicy, reference: Mapping[str, float]) -> float:
    """What a measure must not be worse than: ``threshold`` or the loss allowed, whichever is reached first.

    ``maxLoss`` is taken from measures between 0 and 1 as it is; of those in a unit of their own (log loss,
    mean absolute error, root mean squared error) it is a share.

    Raises:
        UnwatchableMetricError: the measure has no better side, or nothing to compare it with.
    """
    name = policy.metric
    if name not in HIGHER_IS_BETTER | LOWER_IS_BETTER:
        known = suggestion(name, HIGHER_IS_BETTER | LOWER_IS_BETTER)
        raise UnwatchableMetricError(
            f'performance.metric "{name}" is no measure that can be watched: {known}'
        )
    limits = [] if policy.threshold is None else [policy.threshold]
    if name in reference:
        loss = policy.max_loss * (abs(reference[name]) if name in WITHOUT_BOUND else 1.0)
        limits.append(reference[name] + (-loss if name in HIGHER_IS_BETTER else loss))
    if not limits:
        raise UnwatchableMetricError(
            f'the model\'s reference profile has no {name} of its test rows that "{name}" could be compared '
            f"with: give performance.threshold, or another metric ({suggestion(name, reference)})"
        )
    return max(limits) if name in HIGHER_IS_BETTER else min(limits)


def is_worse(name: str, measure: Measured, limit: float) -> bool:
    """Whether a measure is worse than its limit beyond what chance and the counters' bins explain."""
    beyond = limit - measure.value if name in HIGHER_IS_BETTER else measure.value - limit
    return beyond > ONE_SIDED_95 * measure.error + measure.resolution


def _check_known(policy: PerformancePolicy, windows: Sequence[AnswerWindow]) -> None:
    measured = {name for window in windows for name in (*window.measured, *window.estimated)}
    # AUC and explained variance are absent where a window's labels are all the same.
    if measured and policy.metric not in measured | {"roc_auc", "r2"}:
        raise UnwatchableMetricError(
            f'performance.metric "{policy.metric}" is not measured of this model: '
            f"{suggestion(policy.metric, measured)}"
        )


def _judged(window: AnswerWindow, policy: PerformancePolicy, limit: float) -> Verdict:
    source, measure = _known(window, policy)
    if measure is None:
        return Verdict(window, source, None, MonitorOutcome.INCONCLUSIVE)
    worse = is_worse(policy.metric, measure, limit)
    return Verdict(window, source, measure, MonitorOutcome.BREACHED if worse else MonitorOutcome.OK)


def _known(window: AnswerWindow, policy: PerformancePolicy) -> tuple[Source, Measured | None]:
    if window.labelled >= policy.min_samples and policy.metric in window.measured:
        return "measured", window.measured[policy.metric]
    allowed = policy.estimate == "WhenUnlabelled" and window.rows >= policy.min_samples
    if allowed and policy.metric in window.estimated:
        return "estimated", window.estimated[policy.metric]
    return "none", None


def _result(
    verdicts: Sequence[Verdict],
    policy: PerformancePolicy,
    limit: float,
    reference: float | None,
    end: datetime,
) -> MonitorResult:
    judged = [verdict for verdict in verdicts if verdict.measure is not None]
    breached = [verdict for verdict in judged if verdict.outcome is MonitorOutcome.BREACHED]
    outcome = outcome_of_windows([verdict.outcome for verdict in verdicts], policy)
    candidates = breached if outcome is MonitorOutcome.BREACHED else judged
    told = candidates[-1] if candidates else None
    # The newest that are enough for a breach: an older one tells nothing that those do not.
    decisive = breached[-policy.breached_windows :] if outcome is MonitorOutcome.BREACHED else verdicts
    measure = told.measure if told else None
    return MonitorResult(
        trigger=RetrainingTrigger.PERFORMANCE,
        outcome=outcome,
        window_end=end,
        score=measure.value if measure else None,
        threshold=limit,
        message=_message(verdicts, policy, limit, reference, told, len(breached)),
        window_start=decisive[0].window.first if decisive else None,
        metric=policy.metric,
        estimated=told is not None and told.source == "estimated",
        samples=_samples(told) if told else 0,
        standard_error=measure.error if measure else None,
    )


def _samples(verdict: Verdict) -> int:
    return verdict.window.labelled if verdict.source == "measured" else verdict.window.rows


def _message(
    verdicts: Sequence[Verdict],
    policy: PerformancePolicy,
    limit: float,
    reference: float | None,
    told: Verdict | None,
    breached: int,
) -> str:
    name = policy.metric
    if told is None or told.measure is None:
        rows = sum(verdict.window.rows for verdict in verdicts)
        labelled = sum(verdict.window.labelled for verdict in verdicts)
        return (
            f"no window has the {policy.min_samples:,} answers that minSamples asks for: "
            f"{rows:,} predictions in {len(verdicts)} windows, {labelled:,} of them labelled"
        )
    title = measure_title(name)
    trained = (
        "" if reference is None else f"; {measure_text(name, reference)} on the test rows of its training"
    )
    return (
        f"{title} {measure_text(name, told.measure.value)} ({told.source} on {_samples(told):,} answers, "
        f"standard error {measure_text(name, told.measure.error)}); worse than the limit "
        f"{measure_text(name, limit)} in {breached} of the newest {len(verdicts)} windows, "
        f"{policy.breached_windows} of {policy.of_windows} breach{trained}"
    )


def _verdict_to_wire(verdict: Verdict) -> dict[str, Any]:
    window = verdict.window
    return {
        "first": window.first.isoformat(),
        "last": window.last.isoformat(),
        "rows": window.rows,
        "labelled": window.labelled,
        "measured": {name: each.to_wire() for name, each in window.measured.items()},
        "estimated": {name: each.to_wire() for name, each in window.estimated.items()},
        "source": verdict.source,
        "measure": None if verdict.measure is None else verdict.measure.to_wire(),
        "outcome": verdict.outcome.value,
    }


def _verdict_of_wire(wire: Mapping[str, Any]) -> Verdict:
    window = AnswerWindow(
        first=datetime.fromisoformat(wire["first"]),
        last=datetime.fromisoformat(wire["last"]),
        rows=wire["rows"],
        labelled=wire["labelled"],
        measured={name: Measured.of_wire(each) for name, each in wire["measured"].items()},
        estimated={name: Measured.of_wire(each) for name, each in wire["estimated"].items()},
    )
    return Verdict(
        window=window,
        source=wire["source"],
        measure=None if wire["measure"] is None else Measured.of_wire(wire["measure"]),
        outcome=MonitorOutcome(wire["outcome"]),
    )
