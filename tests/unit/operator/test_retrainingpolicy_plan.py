"""Plans of RetrainingPolicies as tables: what is due, what holds it, what is kept and what is told."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mlinfra.resources import RetrainingPolicy, TrainingJob
from mlinfra.resources.names import RETRAIN_ANNOTATION, RETRAINING_POLICY_LABEL, TRIGGER_ANNOTATION
from mlinfra.retraining.triggers import (
    MonitorOutcome,
    MonitorResult,
    Request,
    RetrainingTrigger,
)
from mlinfra_operator import conditions
from mlinfra_operator.retrainingpolicy.actions import CreateTrainingJob, DeleteTrainingJob, Plan
from mlinfra_operator.retrainingpolicy.builder import build_training_job, training_job_name
from mlinfra_operator.retrainingpolicy.observed import Child, Observed, Refusal, child_of
from mlinfra_operator.retrainingpolicy.plan import plan

CREATED = datetime(2026, 5, 1, 0, 0, tzinfo=UTC)
NOW = datetime(2026, 5, 4, 3, 0, 1, tzinfo=UTC)
TODAY = "2026-05-04T03:00:00Z"


def policy(
    *, annotations: dict[str, str] | None = None, status: dict[str, Any] | None = None, **spec: Any
) -> RetrainingPolicy:
    return RetrainingPolicy.model_validate(
        {
            "metadata": {
                "name": "nightly",
                "namespace": "team",
                "uid": "u1",
                "generation": 1,
                "annotations": annotations or {},
            },
            "spec": {
                "modelName": "m",
                "trainingJobTemplate": {"spec": {"modelName": "m", "image": "i"}},
                **spec,
            },
            "status": status or {},
        }
    )


def child(key: str, *, hours_ago: float = 1, **changes: Any) -> Child:
    request = Request(RetrainingTrigger.SCHEDULED, key, "")
    made = Child(
        training_job_name("nightly", request),
        f"uid-{key}",
        RetrainingTrigger.SCHEDULED,
        key,
        NOW - timedelta(hours=hours_ago),
    )
    return replace(made, **changes)


def planned(subject: RetrainingPolicy, *children: Child, now: datetime = NOW, **observed: Any) -> Plan:
    return plan(subject, Observed(children=children, **observed), now, created=CREATED)


def request_of(decided: Plan) -> Request:
    (action,) = decided.actions
    assert isinstance(action, CreateTrainingJob)
    return action.request


def reason(decided: Plan) -> str | None:
    assert not decided.actions
    return conditions.reason_of(decided.status.conditions, "Ready")


def test_a_scheduled_time_that_has_come_is_trained() -> None:
    request = request_of(planned(policy(schedule="0 3 * * *")))
    assert (request.trigger, request.key) == (RetrainingTrigger.SCHEDULED, TODAY)


def test_what_is_trained_already_is_not_trained_again() -> None:
    decided = planned(policy(schedule="0 3 * * *"), child(TODAY, hours_ago=0))
    assert reason(decided) == "Training"
    assert decided.status.last_schedule_time == TODAY
    assert decided.status.next_scheduled_time == "2026-05-05T03:00:00Z"
    assert decided.events[0].reason == "TrainingStarted"
    assert decided.requeue_after == 3600


def test_nothing_before_the_policy_was_created_is_due() -> None:
    decided = planned(policy(schedule="0 3 * * *"), now=CREATED + timedelta(hours=2))
    assert reason(decided) == "Idle"
    assert decided.requeue_after == pytest.approx(3600, abs=1)


def test_after_days_without_an_operator_one_training_catches_up() -> None:
    status = {"lastScheduleTime": "2026-05-01T03:00:00Z"}
    assert request_of(planned(policy(schedule="0 3 * * *", status=status))).key == TODAY


@pytest.mark.parametrize(
    ("deadline", "late", "due"),
    [(60, 59, True), (60, 60, True), (60, 61, False), (0, 0, True), (0, 1, False)],
)
def test_a_missed_time_is_due_until_its_deadline(deadline: int, late: int, due: bool) -> None:
    subject = policy(schedule="0 3 * * *", startingDeadlineSeconds=deadline)
    now = datetime.fromisoformat(TODAY) + timedelta(seconds=late)
    assert bool(planned(subject, now=now).actions) is due


def test_the_time_zone_decides_when_it_is_three_o_clock() -> None:
    subject = policy(schedule="0 3 * * *", timeZone="Europe/Berlin")
    assert request_of(planned(subject)).key == "2026-05-04T01:00:00Z"


def test_a_suspended_policy_starts_only_what_a_person_asks_for() -> None:
    assert reason(planned(policy(schedule="0 3 * * *", suspend=True))) == "Suspended"
    asked = policy(schedule="0 3 * * *", suspend=True, annotations={RETRAIN_ANNOTATION: "now"})
    assert request_of(planned(asked)).trigger is RetrainingTrigger.MANUAL


def test_a_value_of_the_annotation_is_trained_once() -> None:
    status = {"lastManualRequest": "now"}
    assert reason(planned(policy(annotations={RETRAIN_ANNOTATION: "now"}, status=status))) == "Idle"
    anew = policy(annotations={RETRAIN_ANNOTATION: "again"}, status=status)
    assert request_of(planned(anew)).key == "again"


def test_the_answered_value_is_remembered_although_its_training_goes() -> None:
    manual = Child("nightly-x", "u", RetrainingTrigger.MANUAL, "now", NOW)
    decided = planned(policy(annotations={RETRAIN_ANNOTATION: "now"}), manual)
    assert decided.status.last_manual_request == "now"


def test_another_training_is_waited_for_and_told_once() -> None:
    active = child("2026-05-03T03:00:00Z")
    decided = planned(policy(schedule="0 3 * * *"), active)
    assert reason(decided) == "TrainingActive"
    assert decided.status.phase == "Training"
    assert [event.reason for event in decided.events] == ["TrainingStarted", "TrainingActive"]
    again = planned(policy(schedule="0 3 * * *", status=decided.status.to_wire()), active)
    assert again.events == ()
    assert again.status == decided.status


def test_replace_deletes_the_active_training_first() -> None:
    active = child("2026-05-03T03:00:00Z")
    subject = policy(schedule="0 3 * * *", concurrencyPolicy="Replace")
    first = planned(subject, active)
    assert first.actions == ()
    assert first.requeue_after == 0, "what is stopped is told of first"
    told = policy(schedule="0 3 * * *", concurrencyPolicy="Replace", status=first.status.to_wire())
    decided = planned(told, active)
    assert decided.actions[0] == DeleteTrainingJob(active.name, active.uid)
    assert isinstance(decided.actions[1], CreateTrainingJob)


def test_a_held_training_wakes_the_policy_when_it_may_start() -> None:
    subject = policy(schedule="0 3 * * *", cooldownSeconds=4000)
    decided = planned(subject, child("2026-05-03T03:00:00Z", hours_ago=1, outcome="Succeeded"))
    assert reason(decided) == "CoolingDown"
    assert decided.status.phase == "Held"
    assert decided.requeue_after == pytest.approx(400, abs=1)


def test_trainings_whose_objects_are_gone_count_against_the_budget() -> None:
    past = {
        "name": "nightly-old",
        "trigger": "manual",
        "startTime": "2026-05-04T01:00:00Z",
        "outcome": "Deleted",
    }
    subject = policy(schedule="0 3 * * *", maxRunsPerDay=1, status={"history": [past]})
    assert reason(planned(subject)) == "MaxRunsPerDayReached"


def test_history_remembers_each_training_that_the_budget_of_a_day_counts() -> None:
    hours = [*range(1, 24), 30, 40]
    past = [
        {
            "name": f"nightly-{hour}",
            "trigger": "manual",
            "startTime": conditions.timestamp(NOW - timedelta(hours=hour)),
            "outcome": "Deleted",
        }
        for hour in hours
    ]
    told = planned(policy(maxRunsPerDay=23, status={"history": past})).status
    assert [each.name for each in told.history] == [f"nightly-{hour}" for hour in range(1, 24)]
    subject = policy(schedule="0 3 * * *", maxRunsPerDay=23, status=told.to_wire())
    assert reason(planned(subject)) == "MaxRunsPerDayReached"


def test_an_active_training_that_a_person_deletes_is_history() -> None:
    started = {"name": "nightly-old", "trigger": "manual", "startTime": "2026-05-04T01:00:00Z"}
    decided = planned(policy(status={"active": [started]}))
    (past,) = decided.status.history
    assert (past.name, past.outcome) == ("nightly-old", "Deleted")


@pytest.mark.parametrize("outcome", ["Succeeded", "Failed"])
def test_the_oldest_ended_trainings_beyond_the_limit_go_once_they_are_told_of(outcome: str) -> None:
    children = [
        child(f"2026-05-0{day}T03:00:00Z", hours_ago=24 * (4 - day), outcome=outcome) for day in (1, 2, 3)
    ]
    limits = {"successfulJobsHistoryLimit": 1, "failedJobsHistoryLimit": 1}
    active = [{"name": each.name, "trigger": "scheduled", "startTime": TODAY} for each in children]
    first = planned(policy(**limits, status={"active": active}), *children)
    assert first.actions == ()
    assert first.requeue_after == 0
    assert [past.outcome for past in first.status.history] == [outcome] * 3
    then = planned(policy(**limits, status=first.status.to_wire()), *children)
    assert {action.name for action in then.actions} == {children[0].name, children[1].name}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"schedule": "61 3 * * *"}, "bad minute"),
        ({"schedule": "0 3 * * *", "timeZone": "Mars/Olympus"}, "IANA"),
    ],
)
def test_a_schedule_that_is_none_stalls_the_policy(spec: dict[str, Any], message: str) -> None:
    decided = planned(policy(**spec))
    stalled = conditions.find(decided.status.conditions, "Stalled")
    assert stalled is not None
    assert (stalled.status, stalled.reason) == ("True", "InvalidSchedule")
    assert message in stalled.message
    assert decided.status.phase == "Invalid"


def test_a_breach_asks_for_a_training_and_names_its_window() -> None:
    result = MonitorResult(RetrainingTrigger.DRIFT, MonitorOutcome.BREACHED, NOW, 0.3, 0.2, "psi 0.3")
    request = request_of(planned(policy(drift={"onBreach": "Retrain"}), monitors=(result,)))
    assert (request.trigger, request.key) == (RetrainingTrigger.DRIFT, NOW.isoformat())


@pytest.mark.parametrize(
    ("refusal", "expected", "retry"),
    [
        (Refusal(TODAY, "quota", final=False), "TrainingJobNotCreated", True),
        (Refusal(TODAY, "invalid", final=True), "TrainingJobNotCreated", False),
        (Refusal(TODAY, "taken", foreign=True, final=True), "TrainingJobNameTaken", False),
    ],
)
def test_a_refused_training_is_told_and_tried_again_where_that_may_help(
    refusal: Refusal, expected: str, retry: bool
) -> None:
    decided = planned(policy(schedule="0 3 * * *"), refusals=(refusal,))
    assert reason(decided) == expected
    assert decided.retry is retry
    # A policy that cannot start what it is to start is not as it should be.
    true = {each.type for each in decided.status.conditions if each.status == "True"}
    assert true == {"Reconciling" if retry else "Stalled"}
    assert [(event.type, event.reason) for event in decided.events] == [("Warning", expected)]


@pytest.mark.parametrize("foreign", [True, False])
def test_what_a_person_asks_for_in_vain_keeps_no_other_training_waiting(foreign: bool) -> None:
    asked = policy(schedule="0 3 * * *", annotations={RETRAIN_ANNOTATION: "once"})
    assert request_of(planned(asked)).key == "once"
    refused = Refusal("once", "taken", foreign=foreign, final=True)
    assert request_of(planned(asked, refusals=(refused,))).key == TODAY
    told = "TrainingJobNameTaken" if foreign else "TrainingJobNotCreated"
    both = planned(asked, refusals=(refused, Refusal(TODAY, "invalid", final=True)))
    assert (reason(both), both.retry) == (told, False)
    quota = planned(asked, refusals=(Refusal("once", "quota"),))
    assert (reason(quota), quota.retry) == ("TrainingJobNotCreated", True)


def test_a_request_always_has_the_same_name_and_no_two_share_one() -> None:
    one, other = (Request(RetrainingTrigger.MANUAL, key, "any") for key in ("1", "2"))
    assert training_job_name("a.b", one) == training_job_name("a.b", replace(one, message="else"))
    assert training_job_name("a.b", one) != training_job_name("a.b", other)
    assert training_job_name("a.b", one) != training_job_name(
        "a.b", replace(one, trigger=RetrainingTrigger.DRIFT)
    )
    assert len(training_job_name("p" * 52, one)) == 52
    assert "." not in training_job_name("a.b", one)


def test_the_training_job_is_the_template_with_its_reason() -> None:
    subject = policy()
    template = {"metadata": {"labels": {"team": "x"}}, "spec": {"modelName": "m", "image": "i"}}
    subject = RetrainingPolicy.model_validate(
        {**subject.to_wire(), "spec": {"modelName": "m", "trainingJobTemplate": template}}
    )
    manifest = build_training_job(subject, Request(RetrainingTrigger.DRIFT, "w", "psi 0.3"))
    job = TrainingJob.model_validate(manifest)
    assert job.metadata.labels == {"team": "x", RETRAINING_POLICY_LABEL: "nightly"}
    assert job.metadata.annotations[TRIGGER_ANNOTATION] == "drift"
    assert manifest["metadata"]["ownerReferences"][0]["uid"] == "u1"
    created = {**manifest["metadata"], "uid": "c", "creationTimestamp": TODAY}
    assert child_of({**manifest, "metadata": created}).key == "w"
