"""Schedules and limits of RetrainingPolicies over hours and months, with the operator away in between.

The operator's own clock is set; that of the API server, which dates each TrainingJob, is the machine's.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from integration.operator.manifests import condition, retraining_policy
from integration.operator.policy_status import ask, policy, ready_because, trainings
from servers.shifted_clock import clock_from

from mlinfra.resources.names import TRIGGER_KEY_ANNOTATION

Object = dict[str, Any]
Come = Callable[[datetime], Awaitable[None]]
BERLIN = ZoneInfo("Europe/Berlin")
HOUR = timedelta(hours=1)


def waiting(name: str, **spec: Any) -> Object:
    """A policy whose trainings do not begin, and may be many."""
    made = retraining_policy(name, concurrencyPolicy="Allow", **spec)
    made["spec"]["trainingJobTemplate"]["spec"]["suspend"] = True
    return made


@pytest.fixture
def come_back(operator_process) -> Come:
    """The operator goes away, and comes back at a time of its clock."""

    async def come(moment: datetime) -> None:
        operator_process.kill()
        operator_process.environment |= clock_from(moment)
        operator_process.start()
        await operator_process.ready()

    return come


async def started(world: Any, name: str) -> list[str]:
    """What each training of a policy was asked for by: the time that it was due, or a person's words."""
    found = await trainings(world, name)
    return sorted(job["metadata"]["annotations"][TRIGGER_KEY_ANNOTATION] for job in found)


async def next_is(world: Any, name: str, moment: datetime, eventually: Any) -> Object:
    """The policy's status, once it tells that this is when its schedule is due next."""

    async def told() -> Object | None:
        status: Object = (await policy(world, name)).get("status") or {}
        return status if status.get("nextScheduledTime") == stamp(moment) else None

    found: Object = await eventually(told, f"{name} is due next at {stamp(moment)}")
    return found


def stamp(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def change_of_clocks(after: datetime, by: timedelta) -> datetime:
    """When clocks in Berlin are next set forwards or back."""
    hour = after.replace(minute=0, second=0, microsecond=0)
    while (hour + HOUR).astimezone(BERLIN).utcoffset() - hour.astimezone(BERLIN).utcoffset() != by:
        hour += HOUR
    return hour + HOUR


async def test_summer_time_moves_a_schedule_and_neither_skips_nor_repeats_a_training(
    world, come_back, unique, eventually
) -> None:
    now = datetime.now(UTC)
    gap, repeat = (change_of_clocks(now, by) for by in (HOUR, -HOUR))
    await world.apply(waiting(unique, schedule="30 2 * * *", timeZone="Europe/Berlin"))
    steps = {
        # The day before it was due at 2:30 winter time; all that was missed for months is one training.
        gap - timedelta(minutes=10): (gap - timedelta(hours=23.5), gap),
        # There is no 2:30 today: it is due when clocks show 3:00.
        gap + timedelta(minutes=10): (gap, gap + timedelta(hours=23.5)),
        # Of two times that clocks show 2:30 the first one counts, and the second does not.
        repeat - timedelta(minutes=20): (repeat - HOUR / 2, repeat + timedelta(hours=24.5)),
        repeat + timedelta(minutes=40): (None, repeat + timedelta(hours=24.5)),
    }
    expected: list[str] = []
    for moment, (due, upcoming) in sorted(steps.items()):
        await come_back(moment)
        if due is not None:
            expected = sorted([*expected, stamp(due)])
        else:
            # It has looked at the policy by then.
            await ask(world, unique, "by hand")
            expected.append("by hand")

        async def all_are_there(expected: list[str] = expected) -> bool:
            return await started(world, unique) == expected

        await eventually(all_are_there, f"at {moment}: {expected}")
        status = await next_is(world, unique, upcoming, eventually)
        assert status["lastScheduleTime"] == max(each for each in expected if each != "by hand")
        assert await started(world, unique) == expected


async def test_after_hours_away_limits_hold_and_what_was_missed_is_one_training(
    world, operator_process, come_back, unique, eventually
) -> None:
    began = datetime.now(UTC)
    # Not due while this test is under way by the machine's clock.
    due = (began + HOUR / 2).replace(second=0, microsecond=0)
    hourly = {"schedule": f"{due.minute} * * * *"}
    policies = {
        "patient": {},
        "punctual": {"startingDeadlineSeconds": 900},
        "cooled": {"cooldownSeconds": 6 * 3600},
        "budget": {"maxRunsPerDay": 1},
    }
    names = {kind: f"{unique}-{kind}" for kind in policies}
    for kind, spec in policies.items():
        await world.apply(waiting(names[kind], **hourly, **spec))
    operator_process.start()
    await operator_process.ready()
    for kind in ("cooled", "budget"):
        await ask(world, names[kind], "by hand")

    async def expect(expected: dict[str, list[str]], upcoming: datetime) -> None:
        for kind, name in names.items():

            async def all_are_there(kind: str = kind, name: str = name) -> bool:
                return await started(world, name) == expected[kind]

            await eventually(all_are_there, f"{kind} started {expected[kind]}")
            await next_is(world, name, upcoming, eventually)
        assert {kind: await started(world, name) for kind, name in names.items()} == expected

    by_hand = ["by hand"]
    await expect({"patient": [], "punctual": [], "cooled": by_hand, "budget": by_hand}, due)

    missed = due + 2 * HOUR
    await come_back(missed + HOUR / 2)
    first = [stamp(missed)]
    await expect({"patient": first, "punctual": [], "cooled": by_hand, "budget": by_hand}, missed + HOUR)
    cooling = await ready_because(world, names["cooled"], "CoolingDown", eventually)
    (manual,) = await trainings(world, names["cooled"])
    until = datetime.fromisoformat(manual["metadata"]["creationTimestamp"]) + 6 * HOUR
    assert f"not before {stamp(until)}" in condition(cooling, "Ready")["message"]
    await ready_because(world, names["budget"], "MaxRunsPerDayReached", eventually)

    later = due + 25 * HOUR
    await come_back(later + timedelta(minutes=5))
    second = [stamp(later)]
    both = [*second, *by_hand]
    await expect(
        {"patient": first + second, "punctual": second, "cooled": both, "budget": both}, later + HOUR
    )


@pytest.mark.parametrize("before", [{}, {"schedule": "59 23 31 12 *"}], ids=["without", "with another"])
async def test_a_schedule_set_later_trains_at_no_time_before(
    world, operator_process, come_back, unique, eventually, before: Object
) -> None:
    began = datetime.now(UTC)
    due = (began + HOUR / 2).replace(second=0, microsecond=0)
    hourly = {"schedule": f"{due.minute} * * * *"}
    await world.apply(waiting(unique, **before))
    operator_process.start()
    await operator_process.ready()
    await ready_because(world, unique, "Idle", eventually)

    await come_back(due + 5 * HOUR / 2)
    await world.apply(waiting(unique, **hourly))
    status = await next_is(world, unique, due + 3 * HOUR, eventually)
    assert status["observedSchedule"]["schedule"] == hourly["schedule"]
    await ask(world, unique, "by hand")

    async def asked() -> bool:
        return await started(world, unique) == ["by hand"]

    await eventually(asked, "only what a person asked for is trained")
    # What is due from then on is made up for, although the operator was away.
    await come_back(due + 7 * HOUR / 2)

    async def caught_up() -> bool:
        return await started(world, unique) == [stamp(due + 3 * HOUR), "by hand"]

    await eventually(caught_up, "the missed time is trained")
