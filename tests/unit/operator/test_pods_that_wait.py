"""Pods that do not start: how long they are waited for before they are asked why, and what is told."""

from dataclasses import replace
from datetime import timedelta

import pytest
from unit.operator.objects import NOW, Object, child, run, training_job

from mlinfra_operator.conditions import Event, find
from mlinfra_operator.trainingjob.actions import Plan
from mlinfra_operator.trainingjob.observed import Observed, PodFacts
from mlinfra_operator.trainingjob.plan import POD_PATIENCE_SECONDS, plan

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
