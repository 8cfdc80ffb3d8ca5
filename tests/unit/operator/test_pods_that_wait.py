"""Pods that do not start: how long they are waited for before they are asked why, and what is told."""

from dataclasses import replace
from datetime import timedelta

import pytest
from unit.operator.objects import NOW, Object, child, run, training_job

from mlinfra_operator.conditions import Event, find
from mlinfra_operator.trainingjob.actions import ListPods, Plan
from mlinfra_operator.trainingjob.observed import Observed, PodFacts
from mlinfra_operator.trainingjob.plan import POD_PATIENCE_SECONDS, plan
from mlinfra_operator.trainingjob.waiting import is_waiting

LONG_AGO = NOW - timedelta(seconds=POD_PATIENCE_SECONDS)


def planned(observed: Observed) -> Plan:
    return plan(training_job(), observed, NOW)


@pytest.mark.parametrize(
    ("waiting", "reason", "message"),
    [
        (("Unschedulable", "no nodes"), "Unschedulable", "Unschedulable: no nodes"),
        (("ErrImagePull", ""), "ErrImagePull", "ErrImagePull"),
        (("not camel case", "text"), "PodWaiting", "not camel case: text"),
        (None, "PodStarting", "the training pod starts"),
    ],
)
def test_what_holds_a_pod_up_is_told_after_some_patience(
    waiting: tuple[str, str] | None, reason: str, message: str
) -> None:
    pods = (PodFacts("job-x", "Pending", "", waiting=waiting),)
    decided = planned(Observed(child=child(active=1), run=run(), unready_since=LONG_AGO, pods=pods))
    found = find(decided.status.conditions, "Reconciling")
    assert found is not None
    assert (found.reason, found.message) == (reason, message)
    assert decided.requeue_after == POD_PATIENCE_SECONDS


def test_pods_are_not_asked_about_before_the_patience_ends() -> None:
    since = NOW - timedelta(seconds=4)
    decided = planned(Observed(child=child(active=1), run=run(), unready_since=since))
    assert decided.requeue_after == POD_PATIENCE_SECONDS - 4
    assert not decided.actions


@pytest.mark.parametrize(
    ("waited", "status", "facts", "reason"),
    [
        (10, {}, {}, "PodStarting"),
        (39, {}, {}, "PodStarting"),
        (40, {}, {}, "PodsNotCreated"),
        (10**6, {}, {}, "PodsNotCreated"),
        # The Job controller replaces what failed after a while, which grows with each failure.
        (600, {}, {"failed": 1}, "PodStarting"),
        (600, {"phase": "Running"}, {}, "PodStarting"),
        (640, {}, {"failed": 1}, "PodsNotCreated"),
        (640, {"phase": "Running"}, {}, "PodsNotCreated"),
        # The Job of a training that was resumed is a new one.
        (40, {"phase": "Suspended", "attempts": 3}, {}, "PodsNotCreated"),
        (40, {"phase": "Pending", "attempts": 3}, {}, "PodsNotCreated"),
    ],
)
def test_a_job_that_gets_no_pods_is_not_asked_for_them_and_in_time_they_are_missed(
    waited: int, status: Object, facts: Object, reason: str
) -> None:
    since = NOW - timedelta(seconds=waited)
    observed = Observed(child=child(**facts), run=run(), unready_since=since)
    decided = plan(training_job(status=status), observed, NOW)
    assert decided.actions == ()
    found = find(decided.status.conditions, "Ready")
    assert found is not None
    assert (found.status, found.reason) == ("False", reason)
    missed = reason == "PodsNotCreated"
    assert ("kubectl describe job job -n team" in found.message) == missed
    assert (Event("Warning", reason, found.message) in decided.events) == missed
    assert decided.requeue_after == min(waited, 160)


def test_that_pods_are_missed_is_told_once() -> None:
    observed = Observed(child=child(), run=run(), unready_since=NOW - timedelta(seconds=40))
    told = planned(observed).status
    later = replace(observed, unready_since=NOW - timedelta(seconds=80))
    again = plan(training_job(status=told.to_wire()), later, NOW)
    assert (again.events, again.status) == ((), told)


@pytest.mark.parametrize(("waited", "next_look"), [(10, 10), (20, 20), (45, 45), (10**6, 160)])
def test_pods_that_wait_long_are_asked_for_ever_more_rarely(waited: int, next_look: float) -> None:
    since = NOW - timedelta(seconds=waited)
    decided = planned(Observed(child=child(active=1), run=run(), unready_since=since, pods=()))
    assert decided.requeue_after == next_look


LOST = PodFacts("job-x", "Running", "", node="n-1", ends_by="2026-01-02T03:03:55Z")
"""It had to end ten seconds ago."""
ENDING = replace(LOST, ends_by="2026-01-02T03:04:10Z")
ENDED = replace(LOST, phase="Failed")


@pytest.mark.parametrize(
    ("facts", "pods", "reason", "words"),
    [
        ({"terminating": 1}, (LOST,), "PodTerminating", "kubectl delete node n-1"),
        ({"terminating": 1}, (replace(LOST, node=None),), "PodTerminating", "pod job-x had to end by"),
        ({"terminating": 1}, (ENDING,), "PodStarting", "when the one before has ended"),
        ({"terminating": 1}, (ENDED,), "PodStarting", "when the one before has ended"),
        ({"terminating": 1}, (), "PodStarting", "when the one before has ended"),
        ({"terminating": 1, "active": 1}, (LOST,), "PodTerminating", "node n-1 is lost"),
        ({"terminating": 1, "active": 1}, (ENDING,), "PodStarting", "the training pod starts"),
        # One of two pods trains on, and waits for the other.
        ({"terminating": 1, "active": 1, "ready": 1}, (LOST,), "PeerTerminating", "node n-1 is lost"),
        ({"terminating": 1, "active": 1, "ready": 1}, (ENDING,), "Training", ""),
        ({"deleting": True}, (LOST,), "PodTerminating", "node n-1 is lost"),
        ({"deleting": True, "held": True}, (LOST,), "PodTerminating", "node n-1 is lost"),
        ({"deleting": True}, (ENDING,), "JobIsDeleted", "Job job is being deleted"),
        ({"active": 1}, (replace(LOST, ends_by=None),), "PodNotReady", "kubectl describe node n-1"),
    ],
)
def test_a_pod_that_does_not_end_is_named_with_its_node(
    facts: Object, pods: tuple[PodFacts, ...], reason: str, words: str
) -> None:
    job, seen = training_job(status={"phase": "Running"}), child(**facts)
    assert is_waiting(seen)
    observed = Observed(child=seen, run=run(), unready_since=LONG_AGO)
    assert plan(job, observed, NOW).actions == (ListPods(),)
    decided = plan(job, replace(observed, pods=pods), NOW)
    found = find(decided.status.conditions, "Ready")
    assert found is not None
    assert found.reason == reason
    assert words in found.message
    assert decided.status.phase == "Running"
    assert decided.requeue_after == POD_PATIENCE_SECONDS


def test_a_suspension_that_a_lost_node_holds_up_says_so() -> None:
    observed = Observed(child=child(deleting=True), run=run(), unready_since=LONG_AGO, pods=(LOST,))
    running: Object = {"phase": "Running", "jobName": "job"}
    decided = plan(training_job(suspend=True, status=running), observed, NOW)
    assert [event.reason for event in decided.events] == ["PodTerminating"]
    in_time = plan(training_job(suspend=True), replace(observed, pods=(ENDING,)), NOW)
    found = find(in_time.status.conditions, "Ready")
    assert found is not None
    assert found.reason == "Suspending"


def test_while_a_peer_does_not_end_the_attempts_of_an_own_script_stay() -> None:
    seen = child(active=1, ready=1, terminating=1)
    observed = Observed(child=seen, run=run(), unready_since=LONG_AGO, pods=(LOST,))
    trains = Observed(child=child(active=2, ready=2), run=run())
    status = plan(training_job(numNodes=2), trains, NOW).status.to_wire()
    for _ in range(2):
        told = plan(training_job(numNodes=2, status=status), observed, NOW).status
        assert told.attempts == 1
        status = told.to_wire()
    assert plan(training_job(numNodes=2, status=status), trains, NOW).status.attempts == 1


@pytest.mark.parametrize(
    ("facts", "waits"),
    [
        ({"ready": 1}, False),
        ({"ready": 0}, True),
        ({"ready": 1, "terminating": 1}, True),
        ({"held": True, "terminating": 1}, False),
        ({"held": True}, False),
    ],
)
def test_who_waits(facts: Object, waits: bool) -> None:
    assert is_waiting(child(**facts)) == waits


@pytest.mark.parametrize(
    "before",
    [
        (("Unschedulable", "no nodes"), {"active": 1}, {"active": 1}),
        (None, {"active": 1, "ready": 1}, {}),
        (None, {"active": 1, "ready": 1}, {"succeeded": 1}),
    ],
    ids=["held up, and the operator starts again", "its pod has ended", "its pod has succeeded"],
)
def test_nothing_is_written_before_there_is_more_to_tell(
    before: tuple[tuple[str, str] | None, Object, Object],
) -> None:
    waiting, facts, later_facts = before
    pods = (PodFacts("job-x", "Pending", "", waiting=waiting),) if waiting else None
    told = planned(Observed(child=child(**facts), run=run(), unready_since=LONG_AGO, pods=pods)).status
    job = training_job(status=told.to_wire())
    decided = plan(job, Observed(child=child(**later_facts), run=run(), unready_since=NOW), NOW)
    assert decided.status == told
    assert decided.events == ()
    assert decided.requeue_after == POD_PATIENCE_SECONDS


def test_a_training_whose_pod_is_replaced_says_so_at_once() -> None:
    told = planned(Observed(child=child(active=1, ready=1), run=run())).status
    job = training_job(status=told.to_wire())
    decided = plan(job, Observed(child=child(active=1), run=run(), unready_since=NOW), NOW)
    found = find(decided.status.conditions, "Reconciling")
    assert found is not None
    assert found.reason == "PodStarting"
