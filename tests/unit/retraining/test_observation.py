"""The observation window after a promotion and the circuit breaker, as a state machine."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mlinfra.retraining.observation import MONITORS, ObservationRule, Watch
from mlinfra.retraining.triggers import MonitorOutcome, MonitorResult, Request, RetrainingTrigger

NOW = datetime(2026, 5, 1, tzinfo=UTC)
DAY = timedelta(days=1)
RULE = ObservationRule(length=10 * DAY, max_loss=0.02)


def checked(
    score: float | None,
    *,
    at: datetime,
    start: datetime | None = None,
    version: str = "2",
    metric: str = "accuracy",
    estimated: bool = False,
    outcome: MonitorOutcome = MonitorOutcome.OK,
    standard_error: float | None = None,
) -> MonitorResult:
    return MonitorResult(
        RetrainingTrigger.PERFORMANCE,
        outcome,
        at,
        score,
        metric=metric,
        estimated=estimated,
        window_start=start,
        standard_error=standard_error,
        model_version=version,
    )


BASELINE = checked(0.7, at=NOW, version="1")
ON_TRIAL = Watch().promoted("2", previous="1", baseline=BASELINE, rule=RULE, now=NOW)


def observe(watch: Watch, result: MonitorResult, *, days: float, higher_is_better: bool = True) -> str:
    later, rollback = watch.observed(
        result, rule=RULE, higher_is_better=higher_is_better, now=NOW + days * DAY
    )
    if rollback is not None:
        assert later.breaker is not None
        assert later.trial is None
        assert (rollback.version, rollback.previous) == ("2", "1")
        return "rolled back"
    return "on trial" if later.trial is not None else "passed"


def test_a_version_that_does_worse_is_rolled_back_and_one_that_does_not_passes() -> None:
    assert observe(ON_TRIAL, checked(0.6, at=NOW + DAY, start=NOW), days=1) == "rolled back"
    assert observe(ON_TRIAL, checked(0.69, at=NOW + DAY, start=NOW), days=1) == "on trial"
    assert observe(ON_TRIAL, checked(0.69, at=NOW + 10 * DAY, start=NOW), days=10) == "passed"
    less = checked(0.6, at=NOW + DAY, start=NOW)
    assert observe(ON_TRIAL, less, days=1, higher_is_better=False) == "on trial"


def test_of_two_versions_that_are_as_good_chance_takes_hardly_any_back() -> None:
    random, answers, looks = Random(3), 100, 20

    def window(accuracy: float, version: str) -> MonitorResult:
        score = sum(random.random() < accuracy for _ in range(answers)) / answers
        error = math.sqrt(score * (1 - score) / answers)
        return checked(score, at=NOW + DAY, start=NOW, version=version, standard_error=error)

    def is_taken_back(accuracy: float) -> bool:
        baseline = window(0.8, "1")
        watch = Watch().promoted("2", previous="1", baseline=baseline, rule=RULE, now=NOW)
        return any(observe(watch, window(accuracy, "2"), days=1) == "rolled back" for _ in range(looks))

    trials = 300
    taken_back = sum(is_taken_back(0.8) for _ in range(trials))
    assert taken_back <= 0.03 * trials
    assert sum(is_taken_back(0.5) for _ in range(trials)) >= 0.97 * trials


def test_a_trial_is_over_in_event_time_too() -> None:
    old = replace(BASELINE, window_end=datetime(2005, 1, 1, tzinfo=UTC))
    trial = Watch().promoted("2", previous="1", baseline=old, rule=RULE, now=NOW)
    assert observe(trial, checked(0.75, at=old.window_end + 9 * DAY), days=0) == "on trial"
    assert observe(trial, checked(0.75, at=old.window_end + 10 * DAY), days=0) == "passed"
    assert observe(trial, checked(0.6, at=old.window_end + 10 * DAY), days=0) == "rolled back"
    assert observe(trial, checked(None, at=old.window_end + 10 * DAY), days=0) == "on trial"


def test_what_cannot_be_compared_judges_nothing() -> None:
    incomparable = [
        checked(0.1, at=NOW + DAY, version="1"),
        checked(0.1, at=NOW + DAY, metric="f1"),
        checked(0.1, at=NOW + DAY, estimated=True),
        checked(0.1, at=NOW + DAY, start=NOW - DAY, version=""),
        checked(None, at=NOW + DAY),
        checked(0.1, at=NOW + DAY, outcome=MonitorOutcome.INCONCLUSIVE),
    ]
    for result in incomparable:
        assert observe(ON_TRIAL, result, days=1) == "on trial"


def test_without_a_version_before_or_its_performance_there_is_no_trial() -> None:
    assert Watch().promoted("1", previous=None, baseline=BASELINE, rule=RULE, now=NOW) == Watch()
    assert Watch().promoted("2", previous="1", baseline=None, rule=RULE, now=NOW) == Watch()
    unknown = checked(None, at=NOW)
    assert Watch().promoted("2", previous="1", baseline=unknown, rule=RULE, now=NOW) == Watch()


class Loop(RuleBasedStateMachine):
    """Versions are promoted, observed and rolled back, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.watch, self.now = Watch(), NOW
        self.production, self.newest, self.rollbacks, self.promotions = 1, 1, 0, 0

    @rule(score=st.none() | st.floats(0, 1))
    def promote(self, score: float | None) -> None:
        self.newest += 1
        self.promotions += 1
        baseline = checked(score, at=self.now, version=str(self.production))
        self.watch = self.watch.promoted(
            str(self.newest), previous=str(self.production), baseline=baseline, rule=RULE, now=self.now
        )
        self.production = self.newest

    @rule(score=st.floats(0, 1), days=st.integers(0, 12))
    def observe(self, score: float, days: int) -> None:
        self.now += days * DAY
        before = self.watch.trial
        result = checked(score, at=self.now, start=self.now, version=str(self.production))
        self.watch, rollback = self.watch.observed(result, rule=RULE, higher_is_better=True, now=self.now)
        if rollback is not None:
            assert before is not None
            assert rollback.version == str(self.production)
            assert before.baseline.score is not None
            assert score < before.baseline.score - RULE.max_loss
            self.production = int(rollback.previous)
            self.rollbacks += 1

    @precondition(lambda self: self.watch.breaker is not None)
    @rule(trigger=st.sampled_from(RetrainingTrigger))
    def ask(self, trigger: RetrainingTrigger) -> None:
        request = Request(trigger, "key", "asked")
        allowed = self.watch.allowed([request])
        assert bool(allowed) == (trigger not in MONITORS)
        for each in allowed:
            self.watch = self.watch.started(each)
            assert self.watch.breaker is None

    @invariant()
    def a_version_is_rolled_back_at_most_once(self) -> None:
        assert self.rollbacks <= self.promotions
        if self.watch.trial is not None:
            assert self.watch.trial.version == str(self.production)


TestLoop = Loop.TestCase


@given(st.sampled_from(RetrainingTrigger))
def test_a_closed_breaker_lets_everything_pass(trigger: RetrainingTrigger) -> None:
    request = Request(trigger, "key", "asked")
    assert Watch().allowed([request]) == (request,)
    assert Watch().started(request) == Watch()
