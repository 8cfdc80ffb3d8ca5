"""A new version on trial as the operator sees it, the way back, and the circuit breaker."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlinfra.retraining.observation import ObservationRule, Rollback
from mlinfra.retraining.triggers import MonitorOutcome, MonitorResult, RetrainingTrigger
from mlinfra_operator.retrainingpolicy.promotions import Memory, Production, look

NOW = datetime(2026, 1, 2, tzinfo=UTC)
RULE = ObservationRule(timedelta(hours=1), max_loss=0.05)
NAMES = {str(number): f"m-{number}" for number in range(1, 50)}
OLD = Production("1", NOW, promoted=True, names=NAMES)
NEW = Production("2", NOW, promoted=True, previous="1", names=NAMES)


def checked(number: str, score: float | None = 0.8, *, estimated: bool = False) -> MonitorResult:
    outcome = MonitorOutcome.INCONCLUSIVE if score is None else MonitorOutcome.OK
    return MonitorResult(
        RetrainingTrigger.PERFORMANCE,
        outcome,
        NOW,
        score,
        metric="accuracy",
        estimated=estimated,
        model_version=number,
    )


def looked(
    memory: Memory,
    production: Production | None = NEW,
    performance: MonitorResult | None = None,
    *,
    rule: ObservationRule | None = RULE,
    asked_at: datetime | None = None,
    now: datetime = NOW,
) -> tuple[Memory, Rollback | None]:
    return look(memory, production=production, performance=performance, rule=rule, asked_at=asked_at, now=now)


BEFORE = Memory("1", checked("1"))
ON_TRIAL = looked(BEFORE)[0]


def test_a_promotion_begins_a_trial_against_what_the_version_before_came_to() -> None:
    trial = ON_TRIAL.watch.trial
    assert trial is not None
    assert (trial.version, trial.previous, trial.baseline) == ("2", "1", checked("1"))
    assert (trial.since, trial.until) == (NOW, NOW + timedelta(hours=1))


@pytest.mark.parametrize(
    ("memory", "production"),
    [
        (Memory(), NEW),
        (Memory("1"), NEW),
        (BEFORE, replace(NEW, promoted=False)),
        (BEFORE, replace(NEW, previous=None)),
        (BEFORE, replace(NEW, previous="0")),
        (BEFORE, replace(NEW, since=NOW - timedelta(hours=2))),
    ],
    ids=["first sight", "no performance", "by a person", "the only one", "another one before", "long ago"],
)
def test_there_is_no_trial_without_something_to_compare(memory: Memory, production: Production) -> None:
    after, rollback = looked(memory, production)
    assert (after.watch.trial, after.number, rollback) == (None, "2", None)


def test_a_version_that_is_worse_gives_way_and_is_not_promoted_again_while_it_leaves() -> None:
    after, rollback = looked(ON_TRIAL, performance=checked("2", 0.7))
    assert rollback is not None
    assert (rollback.version, rollback.previous) == ("2", "1")
    assert after.watch.breaker is not None
    assert (after.number, after.performance, after.watch.trial) == ("1", checked("1"), None)
    later = looked(after, performance=checked("2", 0.6), now=NOW + timedelta(seconds=1))
    assert later == (after, None)
    back = replace(OLD, since=NOW + timedelta(seconds=2))
    assert looked(after, back, now=NOW + timedelta(seconds=3)) == (after, None)


def test_a_person_who_rolls_back_within_the_window_opens_the_breaker_too() -> None:
    after, rollback = looked(ON_TRIAL, replace(OLD, since=NOW + timedelta(seconds=9)))
    assert rollback is None
    assert after.watch.breaker is not None
    assert after.watch.breaker.version == "2"


def test_a_trial_ends_with_its_window_and_with_the_next_promotion() -> None:
    assert looked(ON_TRIAL, now=NOW + timedelta(hours=1))[0].watch.trial is None
    third = Production("3", NOW, promoted=False, previous="2")
    assert looked(ON_TRIAL, third)[0].watch.trial is None


def test_who_asks_later_closes_the_breaker_and_no_rollback_needs_none() -> None:
    opened, _ = looked(ON_TRIAL, performance=checked("2", 0.1))
    assert looked(opened, OLD, asked_at=NOW)[0].watch.breaker is not None
    assert looked(opened, OLD, asked_at=NOW + timedelta(seconds=1))[0].watch.breaker is None
    assert looked(opened, OLD, rule=None)[0].watch.breaker is None


def test_only_what_is_certain_and_of_the_version_in_production_is_remembered() -> None:
    for performance in (None, checked("1", None), checked("0"), checked("")):
        assert looked(BEFORE, OLD, performance)[0] == BEFORE
    assert looked(BEFORE, OLD, checked("1", 0.9))[0].performance == checked("1", 0.9)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("promote"), st.booleans()),
        st.tuples(st.just("measure"), st.floats(0, 1)),
        st.tuples(st.just("look"), st.just(0)),
        st.tuples(st.just("wait"), st.integers(1, 5000)),
        st.tuples(st.just("ask"), st.just(0)),
    ),
    max_size=40,
)


@settings(max_examples=300)
@given(steps=STEPS)
def test_whatever_happens_a_rollback_is_earned_and_comes_once(steps: list[tuple[str, float]]) -> None:
    now, memory, asked_at = NOW, Memory(), None
    history = [OLD]
    latest = 1
    for what, argument in steps:
        now += timedelta(seconds=1)
        performance = None
        if what == "promote":
            latest += 1
            previous = history[-1].number
            history.append(
                Production(str(latest), now, promoted=bool(argument), previous=previous, names=NAMES)
            )
        elif what == "wait":
            now += timedelta(seconds=argument)
        elif what == "ask":
            asked_at = now
        elif what == "measure":
            performance = checked(history[-1].number, argument)
        before = memory
        memory, rollback = looked(memory, history[-1], performance, asked_at=asked_at, now=now)
        assert looked(before, history[-1], performance, asked_at=asked_at, now=now) == (memory, rollback)
        if rollback is not None:
            trial = before.watch.trial
            assert trial is not None
            assert performance is not None
            assert performance.score is not None
            assert trial.baseline.score is not None
            assert trial.baseline.score - performance.score > RULE.max_loss
            assert memory.watch.breaker is not None
            assert memory.watch.trial is None
            assert looked(memory, history[-1], performance, asked_at=asked_at, now=now)[1] is None
            returned = next(each for each in history if each.number == rollback.previous)
            history.append(replace(returned, since=now + timedelta(milliseconds=1)))
        elif before.watch.breaker is not None and memory.watch.breaker is None:
            assert asked_at is not None
            assert asked_at > before.watch.breaker.opened
        if memory.watch.trial is not None:
            assert now < memory.watch.trial.until
            assert history[-1].number == memory.watch.trial.version
            assert history[-1].promoted
