"""Pods that train together: how they meet, and that one that trains alone is as it was."""

from typing import Any

import pytest
from unit.operator.objects import NAMESPACE, RUN_ID, UID, training_job

from mlinfra.resources import TrainingJob
from mlinfra.resources.names import EXIT_TERMINATED, TRAINING_JOB_UID_LABEL
from mlinfra_operator.trainingjob.distribution import (
    build_peer_service,
    derived_name,
    rendezvous_port,
    torchrun_environment,
)
from mlinfra_operator.trainingjob.job_builder import PodDefaults, build_job

BUILT_IN: dict[str, Any] = {
    "model": {"architecture": "mlp"},
    "data": {"featureGroup": "group", "label": "label"},
    "image": None,
}


def job_spec(job: TrainingJob) -> dict[str, Any]:
    defaults = PodDefaults(image="trainer", tracking_uri="http://mlflow")
    found: dict[str, Any] = build_job(job, run_id=RUN_ID, defaults=defaults)["spec"]
    return found


def variables(job: TrainingJob) -> dict[str, str]:
    return {item["name"]: item["value"] for item in torchrun_environment(job) if "value" in item}


def test_a_training_of_one_process_knows_nothing_of_torchrun() -> None:
    job = training_job(**BUILT_IN)
    assert torchrun_environment(job) == []
    assert "completionMode" not in job_spec(job)
    assert "subdomain" not in job_spec(job)["template"]["spec"]


@pytest.mark.parametrize(
    ("processes", "command"),
    [
        (2, ["python", "-m", "mlinfra.training", "--processes", "2"]),
        ("auto", ["python", "-m", "mlinfra.training.torchrun", "-m", "mlinfra.training"]),
    ],
)
def test_processes_of_one_pod_meet_on_their_own(processes: int | str, command: list[str]) -> None:
    job = training_job(**BUILT_IN, numProcPerNode=processes)
    assert variables(job) == {"PET_NPROC_PER_NODE": str(processes), "PET_STANDALONE": "1"}
    (container,) = job_spec(job)["template"]["spec"]["containers"]
    assert container["command"] == command


def test_pods_meet_at_the_first_one() -> None:
    job = training_job(**BUILT_IN, numNodes=3, numProcPerNode=8, backoffLimit=5)
    spec = job_spec(job)
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 3, 3)
    service = derived_name(job)
    assert spec["template"]["spec"]["subdomain"] == service
    assert variables(job) == {
        "PET_NPROC_PER_NODE": "8",
        "PET_NNODES": "3",
        "PET_RDZV_BACKEND": "c10d",
        "PET_RDZV_ENDPOINT": f"job-0.{service}:{rendezvous_port(job)}",
        "PET_RDZV_ID": UID,
        "PET_MAX_RESTARTS": "5",
    }
    assert torchrun_environment(job)[-1]["valueFrom"] == {"fieldRef": {"fieldPath": "status.podIP"}}


@pytest.mark.parametrize(
    ("spec", "restarts"),
    [
        ({}, None),
        # torchrun restarts nothing unless it is told to: the Job alone tries again.
        ({"numProcPerNode": "auto"}, None),
        ({"command": ["torchrun", "train.py"], "model": None, "data": None, "numProcPerNode": 2}, None),
        # A pod that is lost lets its peers start anew in their pods; the Job replaces what gave up.
        ({"numNodes": 2}, "3"),
    ],
)
def test_the_job_tries_again_and_torchrun_only_where_peers_may_be_lost(
    spec: dict[str, Any], restarts: str | None
) -> None:
    job = training_job(**BUILT_IN | {"backoffLimit": 3} | spec)
    assert job_spec(job)["backoffLimit"] == 3
    assert variables(job).get("PET_MAX_RESTARTS") == restarts


def test_pods_that_stop_along_with_a_peer_have_not_failed() -> None:
    stopped = {
        "action": "Ignore",
        "onExitCodes": {"containerName": "trainer", "operator": "In", "values": [EXIT_TERMINATED]},
    }
    assert job_spec(training_job(**BUILT_IN, numNodes=2))["podFailurePolicy"]["rules"][-1] == stopped
    # A single pod has no peers; own code that always ends so would be started for ever.
    own = {"numNodes": 2, "command": ["torchrun", "train.py"]}
    for spec in (BUILT_IN, own, BUILT_IN | own, {"numNodes": 2}):
        assert stopped not in job_spec(training_job(**spec))["podFailurePolicy"]["rules"]


def test_the_users_own_command_is_kept() -> None:
    job = training_job(numNodes=2, command=["torchrun", "train.py"])
    (container,) = job_spec(job)["template"]["spec"]["containers"]
    assert container["command"] == ["torchrun", "train.py"]
    assert "PET_NNODES" in {item["name"] for item in container["env"]}


def test_the_service_tells_of_pods_that_are_not_ready_and_goes_with_its_training_job() -> None:
    service = build_peer_service(training_job(numNodes=2))
    assert service["metadata"]["namespace"] == NAMESPACE
    assert service["metadata"]["ownerReferences"][0]["uid"] == UID
    assert service["spec"] == {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": {TRAINING_JOB_UID_LABEL: UID},
    }
    name = service["metadata"]["name"]
    assert name[0].isalpha()
    assert name.replace("-", "").isalnum()
