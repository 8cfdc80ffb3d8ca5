"""What the monitors' results amount to: drift alone evaluates, a loss of performance trains."""

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlinfra.resources.monitoring import DriftPolicy, PerformancePolicy
from mlinfra.retraining.assessment import (
    Assessment,
    TriggerRules,
    Verdict,
    assess,
    performance_to_check,
    trigger_rules,
)
from mlinfra.retraining.decision import Limits, Start, Training, decide
from mlinfra.retraining.triggers import MonitorOutcome, MonitorResult, RetrainingTrigger

NOW = datetime(2026, 5, 1, tzinfo=UTC)
DAY = timedelta(days=1)
DRIFT, PERFORMANCE = RetrainingTrigger.DRIFT, RetrainingTrigger.PERFORMANCE


def result(
    trigger: RetrainingTrigger, outcome: str, *, end: datetime = NOW, days: float = 30
) -> MonitorResult:
    return MonitorResult(
        trigger,
        MonitorOutcome(outcome),
        end,
        0.3,
        0.2,
        f"{trigger} is {outcome}",
        window_start=end - days * DAY,
    )


def judged(drift: str | None, performance: str | None, rules: TriggerRules) -> Assessment:
    results = [
        result(trigger, outcome)
        for trigger, outcome in ((DRIFT, drift), (PERFORMANCE, performance))
        if outcome is not None
    ]
    return assess(results, rules)


BOTH = trigger_rules(DriftPolicy(), PerformancePolicy())
DRIFT_ONLY = trigger_rules(DriftPolicy(), None)
PERFORMANCE_ONLY = trigger_rules(None, PerformancePolicy())
AT_ONCE = trigger_rules(DriftPolicy(onBreach="Retrain"), None)


@pytest.mark.parametrize(
    ("rules", "drift", "performance", "verdict", "trigger"),
    [
        (BOTH, "breached", "ok", Verdict.DRIFT_WITHOUT_LOSS, None),
        (BOTH, "breached", "inconclusive", Verdict.DRIFT_UNJUDGED, None),
        (BOTH, "breached", "error", Verdict.DRIFT_UNJUDGED, None),
        (BOTH, "breached", None, Verdict.DRIFT_UNJUDGED, None),
        (BOTH, "breached", "breached", Verdict.RETRAINING_NEEDED, PERFORMANCE),
        (BOTH, "ok", "breached", Verdict.RETRAINING_NEEDED, PERFORMANCE),
        (BOTH, "ok", "ok", Verdict.HEALTHY, None),
        (BOTH, "ok", "error", Verdict.CHECK_FAILED, None),
        (BOTH, "inconclusive", "inconclusive", Verdict.TOO_FEW_SAMPLES, None),
        (BOTH, None, None, Verdict.TOO_FEW_SAMPLES, None),
        (DRIFT_ONLY, "breached", "breached", Verdict.RETRAINING_NEEDED, DRIFT),
        (DRIFT_ONLY, "breached", "ok", Verdict.DRIFT_WITHOUT_LOSS, None),
        (DRIFT_ONLY, "ok", "breached", Verdict.LOSS_WITHOUT_DRIFT, None),
        (PERFORMANCE_ONLY, "breached", "ok", Verdict.HEALTHY, None),
        (PERFORMANCE_ONLY, None, "breached", Verdict.RETRAINING_NEEDED, PERFORMANCE),
        (AT_ONCE, "breached", None, Verdict.RETRAINING_NEEDED, DRIFT),
        (AT_ONCE, "breached", "ok", Verdict.RETRAINING_NEEDED, DRIFT),
    ],
)
def test_what_results_amount_to(
    rules: TriggerRules,
    drift: str | None,
    performance: str | None,
    verdict: Verdict,
    trigger: RetrainingTrigger | None,
) -> None:
    assessment = judged(drift, performance, rules)
    assert assessment.verdict is verdict
    assert (assessment.request.trigger if assessment.request else None) is trigger


def test_the_request_carries_both_results_and_where_its_windows_begin() -> None:
    request = judged("breached", "breached", BOTH).request
    assert request is not None
    assert [each.trigger for each in request.evidence] == [PERFORMANCE, DRIFT]
    assert request.message == "performance is breached; drift is breached"
    assert (request.key, request.due) == (NOW.isoformat(), NOW - 30 * DAY)


def test_a_policy_that_evaluates_drift_knows_of_performance_by_the_defaults() -> None:
    assert performance_to_check(DriftPolicy(), None) == PerformancePolicy()
    assert performance_to_check(DriftPolicy(onBreach="Retrain"), None) is None
    assert performance_to_check(None, None) is None
    own = PerformancePolicy(maxLoss=0.2)
    assert performance_to_check(DriftPolicy(), own) is own


@given(
    breaches=st.lists(st.booleans(), max_size=120),
    cooldown=st.integers(0, 40),
    budget=st.none() | st.integers(1, 2),
    span=st.integers(1, 20),
)
def test_flapping_gives_at_most_what_the_policy_allows(
    breaches: list[bool], cooldown: int, budget: int | None, span: int
) -> None:
    """Each day one window ends that rests on ``span`` days, and breaches or not, as often as it likes."""
    limits = Limits(cooldown=cooldown * DAY, max_runs_per_day=budget)
    trainings: list[Training] = []
    for number, breached in enumerate(breaches):
        now = NOW + number * DAY
        outcome = "breached" if breached else "ok"
        request = assess([result(PERFORMANCE, outcome, end=now, days=span)], BOTH).request
        for _ in range(3):
            # The same window is looked at again and again.
            if isinstance(decide([request] if request else [], trainings, limits, now), Start):
                trainings.append(Training(str(number), now, active=False, events_until=now))
    starts = [training.started for training in trainings]
    gaps = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert all(gap >= max(cooldown, span) * DAY for gap in gaps)
    assert len(starts) <= 1 + len(breaches) // max(cooldown, span, 1)


def test_evidence_is_compared_in_event_time() -> None:
    """A replay: events of 2004, while trainings start today."""
    then = datetime(2004, 5, 1, tzinfo=UTC)
    earlier = Training("a", NOW, active=False, events_until=then)
    again = assess([result(PERFORMANCE, "breached", end=then + 10 * DAY)], BOTH).request
    later = assess([result(PERFORMANCE, "breached", end=then + 31 * DAY)], BOTH).request
    assert again is not None
    assert later is not None
    assert decide([again], [earlier], Limits(), NOW) is None
    assert decide([later], [earlier], Limits(), NOW) == Start(later)
