"""Whether a training starts: precedence of requests, concurrency, cool-down and the day's budget."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlinfra.retraining.decision import Hold, Limits, Start, Training, decide
from mlinfra.retraining.triggers import Request, RetrainingTrigger

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
