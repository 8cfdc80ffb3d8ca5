"""Whether a training starts: precedence of requests, concurrency, cool-down and the day's budget."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlinfra.retraining.decision import Hold, Limits, Start, Training, backoff, came_to, decide
from mlinfra.retraining.triggers import MonitorOutcome, MonitorResult, Request, RetrainingTrigger

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
MANUAL = Request(RetrainingTrigger.MANUAL, "1", "asked")
SCHEDULED = Request(RetrainingTrigger.SCHEDULED, "2026-05-01T12:00:00Z", "due", NOW)
DRIFT = Request(RetrainingTrigger.DRIFT, "window", "drifted", NOW)


def training(hours_ago: float, *, active: bool = False) -> Training:
    return Training(f"t{hours_ago}", NOW - timedelta(hours=hours_ago), active)


def test_nothing_asks_so_nothing_starts() -> None:
    assert decide([], [training(1, active=True)], Limits(), NOW) is None


def test_a_person_goes_before_the_schedule_and_the_schedule_before_drift() -> None:
    assert decide([DRIFT, SCHEDULED, MANUAL], [], Limits(), NOW) == Start(MANUAL)
    assert decide([DRIFT, SCHEDULED], [], Limits(), NOW) == Start(SCHEDULED)


@pytest.mark.parametrize(
    ("limits", "trainings", "expected"),
    [
        (Limits(concurrency="Forbid"), [training(1, active=True)], ("TrainingActive", None)),
        (Limits(concurrency="Forbid"), [training(1)], None),
        (Limits(concurrency="Allow"), [training(1, active=True)], None),
        (Limits(cooldown=timedelta(hours=2)), [training(1)], ("CoolingDown", NOW + timedelta(hours=1))),
        (Limits(cooldown=timedelta(hours=2)), [training(2)], None),
        (
            Limits(max_runs_per_day=2),
            [training(1), training(3), training(25)],
            ("MaxRunsPerDayReached", NOW + timedelta(hours=21)),
        ),
        (Limits(max_runs_per_day=2), [training(1), training(24)], None),
    ],
)
def test_limits_hold_a_scheduled_training(
    limits: Limits, trainings: list[Training], expected: tuple[str, datetime | None] | None
) -> None:
    decided = decide([SCHEDULED], trainings, limits, NOW)
    if expected is None:
        assert isinstance(decided, Start)
    else:
        assert isinstance(decided, Hold)
        assert (decided.reason, decided.until) == expected


def test_replace_stops_what_is_active() -> None:
    limits = Limits(concurrency="Replace")
    assert decide([SCHEDULED], [training(1, active=True), training(2)], limits, NOW) == Start(
        SCHEDULED, ("t1",)
    )


def test_a_person_need_not_wait_for_the_cool_down_but_for_the_budget() -> None:
    assert decide([MANUAL], [training(1)], Limits(cooldown=timedelta(days=9)), NOW) == Start(MANUAL)
    assert isinstance(decide([MANUAL], [training(1)], Limits(max_runs_per_day=1), NOW), Hold)


def test_a_training_answers_what_was_due_when_it_started_but_not_a_person() -> None:
    assert decide([SCHEDULED, DRIFT], [training(0)], Limits("Allow"), NOW) is None
    assert decide([SCHEDULED, MANUAL], [training(0)], Limits("Allow"), NOW) == Start(MANUAL)
    assert decide([SCHEDULED], [training(0.1)], Limits("Allow"), NOW) == Start(SCHEDULED)


@given(
    starts=st.lists(st.tuples(st.floats(0, 60), st.booleans()), max_size=12),
    concurrency=st.sampled_from(["Allow", "Forbid", "Replace"]),
    cooldown=st.floats(0, 50),
    budget=st.one_of(st.none(), st.integers(1, 5)),
)
def test_a_hold_ends_when_it_says(
    starts: list[tuple[float, bool]], concurrency: str, cooldown: float, budget: int | None
) -> None:
    limits = Limits(concurrency, timedelta(hours=cooldown), budget)  # type: ignore[arg-type]
    trainings = [training(hours, active=active) for hours, active in starts]
    decided = decide([SCHEDULED], trainings, limits, NOW)
    while isinstance(decided, Hold) and decided.until is not None:
        assert decided.until > NOW
        decided = decide([SCHEDULED], trainings, limits, decided.until)
        if isinstance(decided, Hold) and decided.until is not None:
            assert decided.reason == "CoolingDown"
            break
    active = any(active for _, active in starts)
    if isinstance(decided, Hold) and decided.until is None:
        assert active
        assert concurrency == "Forbid"
    if isinstance(decided, Start) and active:
        assert concurrency != "Forbid"


LENGTH = timedelta(hours=4)


def breach(begins: datetime) -> Request:
    """A request of a monitor whose windows are four hours long."""
    result = MonitorResult(
        RetrainingTrigger.PERFORMANCE, MonitorOutcome.BREACHED, begins + LENGTH, window_start=begins
    )
    return Request(RetrainingTrigger.PERFORMANCE, f"{begins}", "worse", begins, (result,))


def fruitless(*outcomes: bool | None, ended: datetime = NOW) -> list[Training]:
    """Trainings a day apart, the newest last, whose evidence ends at a time."""
    return [
        Training(
            f"t{number}",
            ended - timedelta(days=len(outcomes) - 1 - number),
            active=False,
            events_until=ended - timedelta(days=len(outcomes) - 1 - number),
            fruitless=outcome,
        )
        for number, outcome in enumerate(outcomes)
    ]


@pytest.mark.parametrize(
    ("outcomes", "factor"),
    [
        ((), 1),
        ((True,), 1),
        ((True, True), 2),
        ((True, True, True, True), 8),
        ((True, False), 1),
        ((False, True), 1),
        ((False, True, True), 2),
        ((True, None, True, None, True), 4),
        ((True,) * 9, 32),
    ],
)
def test_monitors_wait_twice_as_long_after_each_more_training_in_a_row_that_was_fruitless(
    outcomes: tuple[bool | None, ...], factor: int
) -> None:
    trainings = fruitless(*outcomes)
    assert backoff(trainings, Limits()).factor == factor
    assert backoff(trainings, Limits(max_backoff_factor=1)).factor == 1
    begins = NOW + LENGTH * (factor - 1)
    early = decide([breach(begins - timedelta(seconds=1))], trainings, Limits(), NOW)
    late = decide([breach(begins + timedelta(seconds=1))], trainings, Limits(), NOW)
    assert isinstance(late, Start)
    if factor > 1:
        assert isinstance(early, Hold)
        assert (early.reason, early.until) == ("BackingOff", None)
        assert f"{factor} times as long" in early.message
        assert f"{begins:%Y-%m-%dT%H:%M:%SZ}" in early.message


def test_the_cool_down_of_monitors_alone_grows() -> None:
    limits, trainings = Limits(cooldown=timedelta(hours=1)), fruitless(True, True, True)
    held = decide([breach(NOW + timedelta(days=9))], trainings, limits, NOW)
    assert isinstance(held, Hold)
    assert (held.reason, held.until) == ("CoolingDown", NOW + timedelta(hours=4))
    assert "the last 3 trainings were not promoted" in held.message
    due = NOW + timedelta(hours=1)
    scheduled = Request(RetrainingTrigger.SCHEDULED, "later", "due", due)
    assert decide([scheduled], trainings, limits, due) == Start(scheduled)
    assert decide([MANUAL], trainings, limits, NOW) == Start(MANUAL)


def test_only_what_monitors_asked_for_is_fruitless() -> None:
    found = {
        (trigger.value, promoted): came_to(trigger, promoted=promoted)
        for trigger in RetrainingTrigger
        for promoted in (True, False, None)
    }
    assert {key for key, value in found.items() if value} == {("performance", False), ("drift", False)}
    assert {key for key, value in found.items() if value is False} == {
        (trigger.value, True) for trigger in RetrainingTrigger
    }


@given(
    outcomes=st.lists(st.sampled_from([True, False, None]), max_size=12),
    most=st.integers(1, 64),
    cooldown=st.integers(0, 50),
    days=st.integers(0, 400),
)
def test_no_request_waits_for_more_than_the_factor_allows_nor_for_less_than_without(
    outcomes: list[bool | None], most: int, cooldown: int, days: int
) -> None:
    trainings, now = fruitless(*outcomes), NOW + timedelta(days=days)
    limits = Limits(cooldown=timedelta(hours=cooldown), max_backoff_factor=most)
    request = breach(NOW + timedelta(days=days) - LENGTH)
    decided = decide([request], trainings, limits, now)
    plain = decide([request], trainings, Limits(cooldown=limits.cooldown, max_backoff_factor=1), now)
    if isinstance(decided, Start):
        assert decided == plain
    if now - NOW > max(limits.cooldown, LENGTH) * most:
        assert isinstance(decided, Start)
