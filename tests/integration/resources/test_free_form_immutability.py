"""Free-form parts of a TrainingJob's spec are as immutable as the rest, once admission.yaml is applied."""

import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from integration.resources.conftest import ApiServer, Manifest

from mlinfra.kube.resource import TRAINING_JOBS
from mlinfra.local.operator_access import ADMISSION, operator_manifests

PATIENCE_SECONDS = 30
FIRST, SECOND = {"name": "v", "emptyDir": {}}, {"name": "w", "configMap": {"name": "c"}}
CHANGED_VOLUMES = {"volumes": [{"name": "v", "hostPath": {"path": "/"}}, SECOND]}
AFFINITY = {"nodeAffinity": {"a": 1}}


def training_job(name: str, **spec: Any) -> Manifest:
    free = {
        "model": {"architecture": "mlp", "parameters": {"a": 1}},
        "volumes": [FIRST, SECOND],
        "affinity": AFFINITY,
        "podSecurityContext": {"runAsUser": 1},
        "securityContext": {"runAsUser": 1},
        "serving": {"volumes": [FIRST, SECOND], "affinity": AFFINITY},
        "nodeSelector": {"zone": "a"},
        "resourcesPerNode": {"limits": {"cpu": "1"}},
    }
    return {
        "apiVersion": TRAINING_JOBS.api_version,
        "kind": TRAINING_JOBS.kind,
        "metadata": {"name": name},
        "spec": {"modelName": "m", "data": {"featureGroup": "g", "label": "up"}} | free | spec,
    }


@pytest.fixture
def name(admitted: ApiServer) -> Iterator[str]:
    name = f"free-form-{uuid.uuid4().hex[:8]}"
    assert admitted.apply(training_job(name)).status_code == 201
    yield name
    admitted.delete(TRAINING_JOBS, name)


@pytest.fixture(scope="module")
def admitted(api: ApiServer) -> ApiServer:
    """The API server, once it is told of the policy, as by a watch."""
    for manifest in operator_manifests(ADMISSION):
        assert api.apply(manifest).status_code in (200, 201)
    probe = f"free-form-probe-{uuid.uuid4().hex[:8]}"
    assert api.apply(training_job(probe)).status_code == 201
    deadline = time.monotonic() + PATIENCE_SECONDS
    values = 0
    while api.patch(TRAINING_JOBS, probe, changed_context(values)).status_code != 422:
        assert time.monotonic() < deadline, f"the policy is not enforced within {PATIENCE_SECONDS} s"
        values += 1
        time.sleep(0.05)
    api.delete(TRAINING_JOBS, probe)
    return api


def changed_context(number: int) -> Manifest:
    """A patch that replaces all fields of the security context by one of another name."""
    context = {"runAsUser": None, f"field{number - 1}": None, f"field{number}": 1}
    return {"spec": {"securityContext": context}}


@pytest.mark.parametrize(
    "change",
    [
        {"model": {"parameters": {"a": None, "b": 2}}},
        CHANGED_VOLUMES,
        {"podSecurityContext": {"runAsUser": None, "runAsGroup": 0}},
        {"securityContext": {"runAsUser": None, "privileged": True}},
        {"securityContext": None},
        {"serving": CHANGED_VOLUMES},
        {"serving": {"affinity": {"nodeAffinity": None, "podAffinity": {}}}},
    ],
    ids=str,
)
def test_other_fields_in_place_of_the_old_ones_are_refused(
    admitted: ApiServer, name: str, change: Manifest
) -> None:
    answer = admitted.patch(TRAINING_JOBS, name, {"spec": change})
    assert answer.status_code == 422
    assert f"{next(iter(change))} is immutable: delete the TrainingJob" in answer.json()["message"]


@pytest.mark.parametrize(
    "change",
    [
        {"affinity": {"nodeAffinity": None, "podAffinity": {}}},
        {"nodeSelector": {"zone": None, "disk": "b"}},
        {"resourcesPerNode": {"limits": {"cpu": None, "memory": "1"}}},
    ],
    ids=str,
)
def test_what_schedules_the_pods_changes_only_while_suspended(
    admitted: ApiServer, name: str, change: Manifest
) -> None:
    answer = admitted.patch(TRAINING_JOBS, name, {"spec": change})
    assert answer.status_code == 422
    assert f"{next(iter(change))} may change only while suspended" in answer.json()["message"]
    assert admitted.patch(TRAINING_JOBS, name, {"spec": {"suspend": True}}).status_code == 200
    assert admitted.patch(TRAINING_JOBS, name, {"spec": change}).status_code == 200


def test_what_stays_the_same_is_no_change(admitted: ApiServer, name: str) -> None:
    reordered = {"volumes": [SECOND, FIRST], "ttlSecondsAfterFinished": 5}
    assert admitted.patch(TRAINING_JOBS, name, {"spec": reordered}).status_code == 200
    assert admitted.patch(TRAINING_JOBS, name, {"metadata": {"labels": {"a": "b"}}}).status_code == 200
    status = {"status": {"phase": "Running"}}
    assert admitted.patch(TRAINING_JOBS, name, status, subresource="status").status_code == 200


def test_a_spec_without_free_form_parts_may_change_what_is_mutable(admitted: ApiServer, name: str) -> None:
    admitted.delete(TRAINING_JOBS, name)
    bare = training_job(name)
    bare["spec"] = {"modelName": "m", "image": "i"}
    assert admitted.apply(bare).status_code == 201
    assert admitted.patch(TRAINING_JOBS, name, {"spec": {"suspend": True}}).status_code == 200
