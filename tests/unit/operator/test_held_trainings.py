"""What a training says while a queue holds its Job, and that nobody but the queue starts or stops it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.operator.objects import NOW, RUN_ID, child, run, training_job

from mlinfra.resources import TrainingJob
from mlinfra.tracking.contract import ATTEMPT_TAG
from mlinfra_operator.trainingjob.actions import CreateChild, DeleteChild, Plan
from mlinfra_operator.trainingjob.observed import ChildJob, Observed
from mlinfra_operator.trainingjob.plan import plan

QUEUE = {"name": "team", "priorityClass": "urgent"}


def queued(status: dict[str, Any] | None = None, **spec: Any) -> TrainingJob:
    return training_job(status=status, **{"queue": QUEUE, **spec})


def told(job: TrainingJob, found: ChildJob, tags: dict[str, str] | None = None) -> Plan:
    return plan(job, Observed(child=found, run=run(tags=tags or {})), NOW)


def after(decided: Plan, **spec: Any) -> TrainingJob:
    """The TrainingJob once the status is written."""
    return queued(decided.status.to_wire(), **spec)


def reason(decided: Plan) -> str:
    return next(found.reason for found in decided.status.conditions if found.type == "Reconciling")


def test_a_training_waits_in_its_queue_runs_makes_room_and_runs_again() -> None:
    waiting = told(queued(), child(held=True))
    assert (waiting.status.phase, reason(waiting), waiting.actions) == ("Queued", "Queued", ())
    assert "queue team" in waiting.status.conditions[0].message
    assert [event.reason for event in waiting.events] == ["JobCreated", "Queued"]

    admitted = told(after(waiting), child(active=1))
    assert (admitted.status.phase, admitted.status.attempts) == ("Pending", 0)
    assert [event.reason for event in admitted.events] == ["Admitted"]

    running = told(after(admitted), child(active=1, ready=1))
    assert (running.status.phase, running.status.attempts) == ("Running", 1)

    ending = told(after(running), child(held=True, active=1, ready=1))
    assert (ending.status.phase, reason(ending)) == ("Queued", "Evicted")
    assert [(event.type, event.reason) for event in ending.events] == [("Normal", "Evicted")]
    gone = told(after(ending), child(held=True))
    assert (gone.status.phase, reason(gone), gone.events) == ("Queued", "Evicted", ())
    assert gone.status.start_time == running.status.start_time

    again = told(after(gone), child(active=1))
    assert (again.status.phase, again.status.attempts) == ("Pending", 1)
    second = told(after(again), child(active=1, ready=1), {ATTEMPT_TAG: "2"})
    assert (second.status.phase, second.status.attempts) == ("Running", 2)


def test_what_failed_before_an_eviction_does_not_make_the_next_attempt_run() -> None:
    evicted = told(queued({"phase": "Running", "attempts": 2}), child(held=True, failed=1))
    admitted = told(after(evicted), child(active=1, failed=1))
    assert (admitted.status.phase, admitted.status.attempts) == ("Pending", 2)
    third = told(after(admitted), child(active=1, ready=1, failed=1))
    assert (third.status.phase, third.status.attempts) == ("Running", 3)


@pytest.mark.parametrize(
    ("reason_before", "expected"), [("MLflowUnavailable", "Queued"), ("Unschedulable", "Evicted")]
)
def test_only_a_training_that_was_admitted_is_evicted(reason_before: str, expected: str) -> None:
    condition = {
        "type": "Reconciling",
        "status": "True",
        "reason": reason_before,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    before = queued({"phase": "Pending", "jobName": "job", "conditions": [condition]})
    assert reason(told(before, child(held=True))) == expected


def test_a_job_that_someone_suspended_without_a_queue_waits_for_that_one() -> None:
    decided = told(training_job(), child(held=True))
    assert decided.status.phase == "Queued"
    assert "suspended by another" in decided.status.conditions[0].message


@pytest.mark.parametrize("facts", [{"held": True}, {"active": 1, "ready": 1}])
def test_to_suspend_a_queued_training_deletes_its_job_whether_or_not_it_is_admitted(
    facts: dict[str, Any],
) -> None:
    assert told(queued(suspend=True), child(**facts)).actions == (DeleteChild("job-uid"),)
    going = told(queued({"phase": "Queued"}, suspend=True), child(deleting=True, **facts))
    assert reason(going) == "Suspending"
    assert "Admitted" not in [event.reason for event in going.events]


def test_the_end_of_a_job_counts_whether_or_not_it_is_held() -> None:
    ended = child(held=True, failure=("DeadlineExceeded", ""))
    failed = plan(queued(), Observed(child=ended, run=run(), pods=()), NOW)
    assert failed.status.phase == "Failed"


@given(
    steps=st.lists(
        st.sampled_from(["admit", "start", "evict", "end", "fail a pod", "lose the answer"]), max_size=12
    ),
    queue=st.sampled_from([QUEUE, None]),
)
def test_however_a_queue_decides_the_operator_only_reads_the_job(
    steps: list[str], queue: dict[str, str] | None
) -> None:
    job, found = training_job(queue=queue), child(held=queue is not None)
    attempts = started = 0
    for step in steps:
        found, began = happens(step, found)
        started += began
        decided = plan(job, Observed(child=found, run=run()), NOW)
        assert not any(isinstance(action, CreateChild | DeleteChild) for action in decided.actions)
        assert decided.status.phase == ("Queued" if found.held else decided.status.phase)
        assert found.held or decided.status.phase != "Queued"
        assert attempts <= (decided.status.attempts or 0) <= started
        again = plan(
            training_job(queue=queue, status=decided.status.to_wire()),
            Observed(child=found, run=run()),
            NOW,
        )
        assert (again.status, again.events) == (decided.status, ()), step
        if step != "lose the answer":
            attempts = decided.status.attempts or 0
            job = training_job(queue=queue, status=decided.status.to_wire())


def happens(step: str, found: ChildJob) -> tuple[ChildJob, bool]:
    """The Job after a step, and whether an attempt began; a step that cannot be now changes nothing."""
    facts = {"held": found.held, "active": found.active, "ready": found.ready, "failed": found.failed}
    began = False
    match step:
        case "admit" if found.held and found.active == 0:
            facts |= {"held": False, "active": 1}
        case "start" if found.active and not found.held and not found.ready:
            facts |= {"ready": 1}
            began = True
        case "evict" if not found.held:
            facts |= {"held": True}
        case "end" if found.held:
            facts |= {"active": 0, "ready": 0}
        case "fail a pod" if found.ready and not found.held:
            facts |= {"ready": 0, "failed": found.failed + 1}
    return child(run_id=RUN_ID, **facts), began


def test_an_own_script_that_goes_on_after_a_disruption_begins_its_next_attempt() -> None:
    running = told(training_job(), child(active=1, ready=1))
    disrupted = told(training_job(status=running.status.to_wire()), child(active=1))
    assert (disrupted.status.phase, disrupted.status.attempts) == ("Running", 1)
    again = told(training_job(status=disrupted.status.to_wire()), child(active=1, ready=1))
    assert (again.status.phase, again.status.attempts) == ("Running", 2)
    # One that the Job counts is the same attempt.
    counted = told(training_job(status=disrupted.status.to_wire()), child(active=1, ready=1, failed=1))
    assert counted.status.attempts == 2


def test_the_attempt_that_the_trainer_tells_of_is_not_guessed() -> None:
    first = {ATTEMPT_TAG: "1"}
    unready = told(training_job(), child(active=1), first)
    ready = told(training_job(status=unready.status.to_wire()), child(active=1, ready=1), first)
    assert (unready.status.attempts, ready.status.attempts) == (1, 1)


def test_a_pod_that_ends_for_a_suspension_begins_no_attempt() -> None:
    status = told(training_job(), child(active=1, ready=1)).status
    for _ in range(3):
        job = training_job(suspend=True, status=status.to_wire())
        status = told(job, child(active=1, ready=1, deleting=True)).status
        assert (status.phase, status.attempts) == ("Running", 1)


def test_the_only_attempt_that_failed_is_one() -> None:
    status = told(training_job(), child(active=1, ready=1)).status
    status = told(training_job(status=status.to_wire()), child(failed=1)).status
    end = Observed(child=child(failed=1, failure=("BackoffLimitExceeded", "")), pods=())
    assert plan(training_job(status=status.to_wire()), end, NOW).status.attempts == 1
