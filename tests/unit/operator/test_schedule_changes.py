"""A schedule that is set or changed owes no training for a time before; one that stays owes all it did."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mlinfra.resources import RetrainingPolicy
from mlinfra_operator.retrainingpolicy.actions import CreateTrainingJob, Plan
from mlinfra_operator.retrainingpolicy.observed import Observed
from mlinfra_operator.retrainingpolicy.plan import plan

CREATED = datetime(2026, 5, 1, tzinfo=UTC)
AFTERNOON = datetime(2026, 5, 4, 14, 0, 0, 500_000, tzinfo=UTC)
NIGHTLY = {"schedule": "0 2 * * *"}
IN_BERLIN = {**NIGHTLY, "timeZone": "Europe/Berlin"}

Object = dict[str, Any]


def policy(spec: Object, *, generation: int, status: Object) -> RetrainingPolicy:
    template = {"spec": {"modelName": "m", "image": "i"}}
    return RetrainingPolicy.model_validate(
        {
            "metadata": {"name": "p", "namespace": "n", "uid": "u", "generation": generation},
            "spec": {"modelName": "m", "trainingJobTemplate": template, **spec},
            "status": status,
        }
    )


def planned(subject: RetrainingPolicy, now: datetime) -> Plan:
    return plan(subject, Observed(), now, created=CREATED)


def rest(spec: Object, now: datetime, *, generation: int = 1, status: Object | None = None) -> Object:
    """The status that is written; nothing was due."""
    decided = planned(policy(spec, generation=generation, status=status or {}), now)
    assert decided.actions == ()
    return decided.status.to_wire()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, NIGHTLY),
        ({}, IN_BERLIN),
        ({"schedule": "0 23 4 6 *"}, NIGHTLY),
        ({"schedule": "0 25 * * *"}, NIGHTLY),
        ({"schedule": "0 23 4 6 *"}, IN_BERLIN),
        # Midnight in Honolulu is ten o'clock, which has not come when it is looked at; in UTC it has.
        ({"schedule": "0 0 * * *", "timeZone": "Pacific/Honolulu"}, {"schedule": "0 0 * * *"}),
    ],
)
def test_a_schedule_that_is_set_later_trains_at_its_next_time_first(before: Object, after: Object) -> None:
    told = rest(before, CREATED + timedelta(hours=1))
    told = rest(after, AFTERNOON, generation=2, status=told)
    assert told["observedSchedule"] == {**after, "since": "2026-05-04T14:00:00Z"}
    due = datetime.fromisoformat(told["nextScheduledTime"])
    later = due - timedelta(seconds=1)
    assert rest(after, later, generation=2, status=told) == told, "since when it holds is not told anew"
    (action,) = planned(policy(after, generation=2, status=told), due).actions
    assert isinstance(action, CreateTrainingJob)
    assert action.request.due == due


def test_a_change_forgets_what_the_schedule_before_still_owed() -> None:
    told = rest(NIGHTLY, CREATED)
    assert planned(policy(NIGHTLY, generation=1, status=told), AFTERNOON).actions
    rest(IN_BERLIN, AFTERNOON, generation=2, status=told)


def test_a_schedule_that_is_taken_away_and_given_back_begins_anew() -> None:
    told = rest({}, AFTERNOON, generation=2, status=rest(NIGHTLY, CREATED))
    assert "observedSchedule" not in told
    rest(NIGHTLY, AFTERNOON, generation=3, status=told)


@pytest.mark.parametrize("generation", [1, 2])
def test_another_change_of_the_policy_leaves_a_missed_time_due(generation: int) -> None:
    status = rest(NIGHTLY, CREATED)
    subject = policy({**NIGHTLY, "cooldownSeconds": 5}, generation=generation, status=status)
    assert planned(subject, AFTERNOON).actions


@pytest.mark.parametrize(
    ("status", "generation", "due"),
    [
        ({}, 1, True),
        ({}, 2, False),
        ({"observedGeneration": 3}, 3, True),
        ({"observedGeneration": 3}, 4, False),
    ],
)
def test_without_a_schedule_in_status_its_generation_tells_whether_it_was_always_so(
    status: Object, generation: int, due: bool
) -> None:
    subject = policy(NIGHTLY, generation=generation, status=status)
    assert bool(planned(subject, AFTERNOON).actions) is due
