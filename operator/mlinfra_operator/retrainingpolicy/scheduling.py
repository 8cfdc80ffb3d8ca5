"""Which time of its schedule a RetrainingPolicy owes a training. Pure."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from mlinfra.resources import RetrainingPolicy
from mlinfra.resources.retraining_policy_status import ObservedSchedule
from mlinfra.retraining.schedule import Schedule
from mlinfra.retraining.triggers import RetrainingTrigger
from mlinfra_operator import conditions
from mlinfra_operator.retrainingpolicy.observed import Child


def due_time(
    policy: RetrainingPolicy,
    schedule: Schedule,
    children: Iterable[Child],
    now: datetime,
    *,
    created: datetime,
) -> datetime | None:
    """The latest time that has come and that no training was started for; None where there is none."""
    moments = [created]
    if (seen := observed_schedule(policy, now, created=created)) is not None:
        moments.append(datetime.fromisoformat(seen.since))
    if (last := last_schedule_time(policy, children)) is not None:
        moments.append(datetime.fromisoformat(last))
    if (deadline := policy.spec.starting_deadline_seconds) is not None:
        # A time that is exactly so late may still start.
        moments.append(now - timedelta(seconds=deadline, microseconds=1))
    return schedule.latest(now, after=max(moments))


def observed_schedule(
    policy: RetrainingPolicy, now: datetime, *, created: datetime
) -> ObservedSchedule | None:
    """The policy's schedule and since when it holds; None without one.

    One that was set after the policy was created holds from when it is first seen: who sets it in the
    afternoon asks for no training of the night before.
    """
    spec, seen = policy.spec, policy.status.observed_schedule
    if not spec.schedule:
        return None
    if seen is not None and (seen.schedule, seen.time_zone) == (spec.schedule, spec.time_zone):
        return seen
    # A status of before there was this field tells by its generation that the schedule is the same.
    unchanged = seen is None and policy.metadata.generation == (policy.status.observed_generation or 1)
    since = conditions.timestamp(created if unchanged else now)
    return ObservedSchedule(schedule=spec.schedule, time_zone=spec.time_zone, since=since)


def last_schedule_time(policy: RetrainingPolicy, children: Iterable[Child]) -> str | None:
    """The last scheduled time that a training was started for."""
    times = [child.key for child in children if child.trigger is RetrainingTrigger.SCHEDULED]
    if (told := policy.status.last_schedule_time) is not None:
        times.append(told)
    return max(times, default=None)
