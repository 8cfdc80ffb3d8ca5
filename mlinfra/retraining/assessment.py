"""What the monitors' results mean together: whether they ask for a training, and why or why not. Pure.

Drift alone is no reason to train: what a model is asked may change while its answers stay right. So drift
starts an evaluation, and a training also needs a loss of performance, measured or estimated, unless the
policy says otherwise. A loss of performance asks by itself where the policy watches performance.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from mlinfra.resources.monitoring import DriftPolicy, PerformancePolicy
from mlinfra.retraining.triggers import MonitorOutcome, MonitorResult, Request, RetrainingTrigger


@dataclass(frozen=True, slots=True)
class TriggerRules:
    """What the results of a policy's monitors may ask for.

    Attributes:
        drift_asks: whether drift asks where performance was lost as well.
        drift_suffices: whether drift asks by itself.
        performance_asks: whether a loss of performance asks by itself.
    """

    drift_asks: bool = True
    drift_suffices: bool = False
    performance_asks: bool = True


class Verdict(StrEnum):
    """What the results amount to; the value is the reason of a condition."""

    HEALTHY = "Healthy"
    RETRAINING_NEEDED = "RetrainingNeeded"
    DRIFT_WITHOUT_LOSS = "DriftWithoutLoss"
    DRIFT_UNJUDGED = "DriftUnjudged"
    LOSS_WITHOUT_DRIFT = "LossWithoutDrift"
    TOO_FEW_SAMPLES = "TooFewSamples"
    CHECK_FAILED = "CheckFailed"


@dataclass(frozen=True, slots=True)
class Assessment:
    """What the results amount to.

    Attributes:
        message: why, for people.
        request: the training that is asked for; None where none is.
    """

    verdict: Verdict
    message: str
    request: Request | None = None


def trigger_rules(drift: DriftPolicy | None, performance: PerformancePolicy | None) -> TriggerRules:
    """The rules of a policy with these two sections."""
    return TriggerRules(
        drift_asks=drift is not None,
        drift_suffices=drift is not None and drift.on_breach == "Retrain",
        performance_asks=performance is not None,
    )


def performance_to_check(
    drift: DriftPolicy | None, performance: PerformancePolicy | None
) -> PerformancePolicy | None:
    """By which rules performance is checked; None where nothing depends on it.

    A policy that watches drift alone needs to know of performance as well, by its defaults.
    """
    if performance is None and drift is not None and drift.on_breach == "Evaluate":
        return PerformancePolicy()
    return performance


def assess(results: Iterable[MonitorResult], rules: TriggerRules) -> Assessment:
    """What the newest results of a policy's monitors amount to.

    Args:
        results: at most one of drift, and one of performance; of several the newest counts.
        rules: what they may ask for.
    """
    newest = {each.trigger: each for each in sorted(results, key=lambda each: each.window_end)}
    drift, performance = newest.get(RetrainingTrigger.DRIFT), newest.get(RetrainingTrigger.PERFORMANCE)
    drifted = drift is not None and drift.breached
    lost = performance is not None and performance.breached
    if performance is not None and lost and rules.performance_asks:
        return _asks(performance, drift if drifted else None)
    if drift is not None and drifted and rules.drift_suffices:
        return _asks(drift, performance)
    if drift is not None and drifted and rules.drift_asks:
        if performance is not None and lost:
            return _asks(drift, performance)
        return _drift_alone(drift, performance)
    told = "; ".join(dict.fromkeys(each.message for each in newest.values() if each.message))
    if lost:
        return Assessment(Verdict.LOSS_WITHOUT_DRIFT, told)
    outcomes = {each.outcome for each in newest.values()}
    if MonitorOutcome.ERROR in outcomes:
        return Assessment(Verdict.CHECK_FAILED, told)
    if MonitorOutcome.OK in outcomes or drifted:
        return Assessment(Verdict.HEALTHY, told)
    return Assessment(Verdict.TOO_FEW_SAMPLES, told or "nothing was checked yet")


def _drift_alone(drift: MonitorResult, performance: MonitorResult | None) -> Assessment:
    if performance is not None and performance.outcome is MonitorOutcome.OK:
        return Assessment(
            Verdict.DRIFT_WITHOUT_LOSS, f"{drift.message}; no training: {performance.message or 'no loss'}"
        )
    why = performance.message if performance is not None and performance.message else "it was not checked"
    return Assessment(
        Verdict.DRIFT_UNJUDGED, f"{drift.message}; no training while performance is not known: {why}"
    )


def _asks(decisive: MonitorResult, other: MonitorResult | None) -> Assessment:
    """The request that a result makes, with what the other monitor said beside it."""
    evidence = (decisive,) if other is None else (decisive, other)
    breached = [each.message for each in evidence if each.breached and each.message]
    message = "; ".join(breached) or f"{decisive.trigger} breached"
    request = Request(
        trigger=decisive.trigger,
        key=decisive.window_end.isoformat(),
        message=message,
        # A training that started since the evidence began has learnt from some of it: only windows that
        # are newer as a whole tell that it did not help.
        due=decisive.window_start or decisive.window_end,
        evidence=evidence,
    )
    return Assessment(Verdict.RETRAINING_NEEDED, message, request)
