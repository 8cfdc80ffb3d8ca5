"""Which pods' logs are shown, and what is said where there are none."""

from typing import Any

import pytest

from mlinfra.cli.access import ClusterAccessError, UnknownResourceError
from mlinfra.cli.training_pods import (
    COMPLETION_INDEX,
    TrainingPod,
    chosen,
    has_ended,
    next_pod,
    training_pods,
)

Object = dict[str, Any]
RUN = {"runID": "abc123", "experimentID": "1", "url": "http://mlflow/#/runs/abc123"}


def training_job(*, nodes: int = 1, **status: Any) -> Object:
    return {"metadata": {"name": "m"}, "spec": {"numNodes": nodes}, "status": status}


def pod(
    name: str, *, node: int | None = None, minute: int = 0, state: str = "terminated", phase: str = ""
) -> Object:
    annotations = {} if node is None else {COMPLETION_INDEX: str(node)}
    started = [{"name": "trainer", "state": {state: {}}}]
    return {
        "metadata": {
            "name": name,
            "annotations": annotations,
            "creationTimestamp": f"2026-03-01T00:{minute:02}:00Z",
        },
        "spec": {"containers": [{"name": "trainer"}, {"name": "sidecar"}]},
        "status": {"phase": phase, "containerStatuses": started if state else []},
    }


def told(job: Object, pods: list[TrainingPod], *, attempt: int | None = None) -> str:
    with pytest.raises(ClusterAccessError) as refusal:
        chosen(job, pods, attempt=attempt, node=None)
    return str(refusal.value)


def test_attempts_of_one_pod_each_the_oldest_first() -> None:
    pods = training_pods(training_job(attempts=2), [pod("b", minute=1, state="running"), pod("a")])
    assert [(each.name, each.attempt, each.node, each.container) for each in pods] == [
        ("a", 1, 0, "trainer"),
        ("b", 2, 0, "trainer"),
    ]


def test_attempts_of_a_job_before_a_suspension_count() -> None:
    [only] = training_pods(training_job(attempts=3), [pod("a")])
    assert only.attempt == 3
    [early] = training_pods(training_job(), [pod("a")])
    assert early.attempt == 1


def test_the_newest_pod_of_each_node_is_shown() -> None:
    job = training_job(nodes=2, attempts=2)
    pods = training_pods(
        job, [pod("a", node=0), pod("b", node=1), pod("c", node=1, minute=2), pod("d", node=0, minute=1)]
    )
    assert [each.name for each in chosen(job, pods, attempt=None, node=None)] == ["d", "c"]
    assert [each.name for each in chosen(job, pods, attempt=1, node=None)] == ["a", "b"]
    assert [each.name for each in chosen(job, pods, attempt=None, node=1)] == ["c"]


def test_a_node_that_is_not_there_is_refused() -> None:
    with pytest.raises(UnknownResourceError, match="trains on 2 nodes: --node is 0 to 1"):
        chosen(training_job(nodes=2), [], attempt=None, node=2)
    with pytest.raises(UnknownResourceError, match="trains on one node: --node is 0"):
        chosen(training_job(), [], attempt=None, node=1)


def test_gone_pods_name_the_run() -> None:
    message = told(training_job(phase="Succeeded", attempts=1, mlflow=RUN), [])
    assert message == (
        "the pods of TrainingJob m are gone; it has come to its end (Succeeded). "
        "What the training logged is in its MLflow run abc123: http://mlflow/#/runs/abc123"
    )
    assert told(training_job(phase="Failed"), []).endswith("It has no MLflow run: what it printed is lost")


def test_a_gone_attempt_names_those_that_are_there() -> None:
    job = training_job(phase="Running", attempts=3, mlflow=RUN)
    pods = training_pods(job, [pod("b"), pod("c", minute=1)])
    assert told(job, pods, attempt=1).startswith(
        "the pods of attempt 1 of TrainingJob m are gone; there are attempts 2, 3. What the training logged"
    )
    assert told(job, pods, attempt=4) == "TrainingJob m has no attempt 4 so far; there are attempts 2, 3"


def test_before_the_first_pod_the_reason_is_told() -> None:
    waits = [{"type": "Reconciling", "status": "True", "reason": "Queued", "message": "quota is full"}]
    assert told(training_job(phase="Queued", conditions=waits, mlflow=RUN), []) == (
        "TrainingJob m has no pod yet (Queued: Queued: quota is full)."
    )
    suspended = told(training_job(phase="Suspended", attempts=1, mlflow=RUN), [])
    assert suspended.startswith("TrainingJob m has no pod now (Suspended). What the training logged is in")


def test_following_begins_with_the_newest_and_goes_on_with_each_retry() -> None:
    job = training_job()
    first, second = pod("a"), pod("b", minute=1, state="running")
    [only] = training_pods(job, [first])
    assert next_pod([only], node=0, last=None) == only
    assert next_pod([only], node=0, last=only) is None
    both = training_pods(job, [first, second])
    following = next_pod(both, node=0, last=only)
    assert following is not None
    assert following.name == "b"
    newest = next_pod(both, node=0, last=None)
    assert newest is not None
    assert newest.name == "b"


def test_following_waits_for_a_start_and_passes_over_what_never_had_one() -> None:
    job = training_job()
    waiting = training_pods(job, [pod("a"), pod("b", minute=1, state="waiting")])
    assert next_pod(waiting, node=0, last=None) is None
    evicted = pod("b", minute=1, state="", phase="Failed")
    later = training_pods(job, [pod("a"), evicted, pod("c", minute=2)])
    following = next_pod(later, node=0, last=later[0])
    assert following is not None
    assert following.name == "c"


@pytest.mark.parametrize(
    ("phase", "ended"), [("Running", False), ("Suspended", False), ("Registering", True), ("Failed", True)]
)
def test_no_pod_comes_after_the_end(phase: str, ended: bool) -> None:
    assert has_ended(training_job(phase=phase)) is ended
    assert has_ended(None)
