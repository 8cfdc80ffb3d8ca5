"""Facts of Jobs and pods, from objects as the API server gives them."""

from typing import Any

import pytest

from mlinfra.resources.names import TRAINING_JOB_LABEL
from mlinfra_operator.trainingjob.observed import PodFacts, Termination, child_job, image_digest, pod_facts

Object = dict[str, Any]


def job(*, owners: list[Object] | None = None, status: Object | None = None, **metadata: Any) -> Object:
    return {
        "metadata": {
            "name": "job",
            "uid": "job-uid",
            "labels": {TRAINING_JOB_LABEL: "job"},
            "ownerReferences": owners or [],
            **metadata,
        },
        "spec": {
            "template": {
                "spec": {
                    "containers": [
                        {"name": "sidecar", "env": [{"name": "MLFLOW_RUN_ID", "value": "wrong"}]},
                        {
                            "name": "trainer",
                            "env": [
                                {"name": "SECRET", "valueFrom": {"secretKeyRef": {}}},
                                {"name": "MLFLOW_RUN_ID", "value": "run-1"},
                            ],
                        },
                    ]
                }
            }
        },
        "status": status or {},
    }


def owner(kind: str = "TrainingJob", **fields: Any) -> Object:
    return {"kind": kind, "uid": "uid-1", "controller": True, **fields}


@pytest.mark.parametrize(
    ("owners", "uid"),
    [
        ([], None),
        ([owner()], "uid-1"),
        ([owner(controller=False)], None),
        ([owner("CronJob")], None),
        ([owner("ConfigMap", controller=False, uid="other"), owner()], "uid-1"),
    ],
)
def test_the_owner_is_the_training_job_that_controls_it(owners: list[Object], uid: str | None) -> None:
    assert child_job(job(owners=owners)).owner_uid == uid


def test_the_run_is_the_one_in_the_trainers_environment() -> None:
    assert child_job(job()).run_id == "run-1"


def test_a_job_without_a_template_has_no_run() -> None:
    assert child_job({"metadata": {"uid": "x"}}).run_id is None


def test_counts_and_times_are_read_and_absent_ones_are_zero() -> None:
    status = {"startTime": "2026-01-01T00:00:00Z", "active": 1, "ready": 1, "failed": 2, "terminating": 3}
    found = child_job(job(status=status))
    assert found.terminating == 3
    assert child_job(job()).terminating == 0
    assert (found.active, found.ready, found.failed, found.succeeded) == (1, 1, 2, 0)
    assert found.start_time == "2026-01-01T00:00:00Z"
    assert found.started == 3


@pytest.mark.parametrize(
    ("conditions", "complete", "failure"),
    [
        ([], False, None),
        ([{"type": "Complete", "status": "True"}], True, None),
        ([{"type": "Complete", "status": "False"}], False, None),
        # What the Job's controller says while it still ends pods is not the end.
        ([{"type": "SuccessCriteriaMet", "status": "True"}], False, None),
        ([{"type": "FailureTarget", "status": "True", "reason": "X"}], False, None),
        (
            [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "m"}],
            False,
            ("BackoffLimitExceeded", "m"),
        ),
        ([{"type": "Failed", "status": "True"}], False, ("JobFailed", "")),
    ],
)
def test_a_job_has_ended_by_its_final_conditions_only(
    conditions: list[Object], complete: bool, failure: tuple[str, str] | None
) -> None:
    found = child_job(job(status={"conditions": conditions}))
    assert (found.complete, found.failure) == (complete, failure)


def test_a_deletion_is_seen() -> None:
    assert child_job(job(deletionTimestamp="2026-01-01T00:00:00Z")).deleting
    assert not child_job(job()).deleting


def pod(state: Object | None = None, *, container: str = "trainer", **status: Any) -> Object:
    containers = [{"name": container, "state": state}] if state is not None else []
    return {"metadata": {"name": "job-x"}, "status": {"containerStatuses": containers, **status}}


def test_the_node_of_a_pod_and_the_time_that_it_has_to_end_are_read() -> None:
    found = pod_facts(pod())
    assert (found.node, found.ends_by) == (None, None)
    deleted = pod() | {"metadata": {"name": "job-x", "deletionTimestamp": "2026-01-01T00:00:30Z"}}
    found = pod_facts(deleted | {"spec": {"nodeName": "n-1"}})
    assert (found.node, found.ends_by) == ("n-1", "2026-01-01T00:00:30Z")


def test_the_end_of_the_trainer_is_read() -> None:
    state = {
        "terminated": {
            "reason": "OOMKilled",
            "exitCode": 137,
            "message": "last words",
            "finishedAt": "2026-01-01T00:00:00Z",
        }
    }
    found = pod_facts(pod(state, phase="Failed"))
    assert found.termination == Termination("OOMKilled", 137, "last words", "2026-01-01T00:00:00Z")
    assert (found.phase, found.waiting) == ("Failed", None)


def test_another_containers_end_is_not_the_trainers() -> None:
    assert pod_facts(pod({"terminated": {"exitCode": 1}}, container="sidecar")).termination is None


SHA256, SHA512 = f"sha256:{'0a' * 32}", f"sha512:{'0b' * 64}"


@pytest.mark.parametrize(
    ("image_id", "digest"),
    [
        (f"registry.example:5000/team/image@{SHA256}", SHA256),
        (f"docker-pullable://image@{SHA256}", SHA256),
        (f"docker://{SHA256}", SHA256),
        (SHA256, SHA256),
        (f"image@{SHA512}", SHA512),
        ("", None),
        ("registry.example/image:1.0", None),
        (f"image@{SHA256}0", None),
        ("image@sha256:" + "XY" * 32, None),
    ],
)
def test_the_digest_of_an_image_is_read_where_the_kubelet_reports_one(
    image_id: str, digest: str | None
) -> None:
    found = pod({})
    found["status"]["containerStatuses"][0]["imageID"] = image_id
    assert pod_facts(found).image_digest == digest


def ran(name: str, phase: str, created: str, digest: str | None) -> PodFacts:
    return PodFacts(name=name, phase=phase, created=created, image_digest=digest)


@pytest.mark.parametrize(
    ("pods", "digest"),
    [
        ([], None),
        ([ran("a", "Succeeded", "1", None)], None),
        ([ran("a", "Failed", "1", "old"), ran("b", "Failed", "2", "new")], "new"),
        ([ran("a", "Succeeded", "1", "good"), ran("b", "Failed", "2", "bad")], "good"),
        ([ran("a", "Succeeded", "1", None), ran("b", "Failed", "2", "bad")], "bad"),
    ],
)
def test_the_pod_that_ended_well_tells_of_the_image(pods: list[PodFacts], digest: str | None) -> None:
    assert image_digest(pods) == digest
    assert image_digest(reversed(pods)) == digest


def test_a_pod_without_any_status_is_pending() -> None:
    found = pod_facts({"metadata": {"name": "job-x"}})
    assert (found.phase, found.termination, found.waiting) == ("Pending", None, None)


UNSCHEDULED = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no nodes"}


@pytest.mark.parametrize(
    ("found", "waiting"),
    [
        (
            pod({"waiting": {"reason": "ErrImagePull", "message": "no such image"}}),
            ("ErrImagePull", "no such image"),
        ),
        (pod({"waiting": {}}), None),
        (pod({"waiting": {"message": "somehow"}}), ("Waiting", "somehow")),
        (pod(conditions=[UNSCHEDULED]), ("Unschedulable", "no nodes")),
        (pod(conditions=[UNSCHEDULED | {"status": "True"}]), None),
        (pod({"running": {}}), None),
    ],
)
def test_what_holds_a_pod_up_is_read(found: Object, waiting: tuple[str, str] | None) -> None:
    assert pod_facts(found).waiting == waiting
