"""Pods that do not start: how long they are waited for before they are asked why, and what is told."""

from datetime import timedelta

import pytest
from unit.operator.objects import NOW, child, run, training_job

from mlinfra_operator.conditions import find
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


def test_a_job_that_has_no_pods_yet_is_not_asked_for_them() -> None:
    decided = planned(Observed(child=child(), run=run(), unready_since=LONG_AGO))
    assert decided.actions == ()
    found = find(decided.status.conditions, "Reconciling")
    assert found is not None
    assert found.reason == "PodStarting"


@pytest.mark.parametrize(("waited", "next_look"), [(10, 10), (20, 20), (45, 45), (10**6, 160)])
def test_pods_that_wait_long_are_asked_for_ever_more_rarely(waited: int, next_look: float) -> None:
    since = NOW - timedelta(seconds=waited)
    decided = planned(Observed(child=child(active=1), run=run(), unready_since=since, pods=()))
    assert decided.requeue_after == next_look
