"""The child Job: what a training pod gets, and what it does not."""

import json
from typing import Any

import pytest
from unit.operator.objects import NAMESPACE, RUN_ID, UID, training_job

from mlinfra.resources import TrainingJob
from mlinfra.resources.names import (
    CONTRACT_ENVIRONMENT,
    EXIT_INVALID_INPUT,
    FEATURE_STORE_URI_ENV,
    MANAGED_LABEL,
    QUEUE_LABEL,
    QUEUE_PRIORITY_LABEL,
    TERMINATION_LOG_ENV,
    TRAINING_JOB_ENV,
    TRAINING_JOB_LABEL,
    TRAINING_JOB_UID_LABEL,
)
from mlinfra.resources.training_job import MAX_NAME_LENGTH
from mlinfra_operator.trainingjob.job_builder import PodDefaults, build_job
from mlinfra_operator.trainingjob.observed import child_job

Object = dict[str, Any]
DEFAULTS = PodDefaults(image="trainer:1", tracking_uri="http://mlflow", feature_store_uri="file:///features")
BUILT_IN: Object = {
    "model": {"architecture": "hybrid_cnn_lstm"},
    "data": {"featureGroup": "group", "label": "label"},
    "image": None,
}


def built(job: TrainingJob | None = None, defaults: PodDefaults = DEFAULTS) -> Object:
    return build_job(job or training_job(), run_id=RUN_ID, defaults=defaults)


def pod_spec(job: TrainingJob | None = None) -> Object:
    spec: Object = built(job)["spec"]["template"]["spec"]
    return spec


def container(job: TrainingJob | None = None) -> Object:
    (only,) = pod_spec(job)["containers"]
    found: Object = only
    return found


def environment(job: TrainingJob | None = None, defaults: PodDefaults = DEFAULTS) -> dict[str, str]:
    (only,) = built(job, defaults)["spec"]["template"]["spec"]["containers"]
    return {variable["name"]: variable.get("value", "") for variable in only["env"]}


def test_the_job_is_found_by_its_labels_and_owned_by_its_training_job() -> None:
    manifest = built()
    labels = {MANAGED_LABEL: "true", TRAINING_JOB_LABEL: "job", TRAINING_JOB_UID_LABEL: UID}
    assert manifest["metadata"]["labels"] == labels
    assert manifest["spec"]["template"]["metadata"]["labels"] == labels
    assert (manifest["metadata"]["name"], manifest["metadata"]["namespace"]) == ("job", NAMESPACE)
    assert manifest["metadata"]["ownerReferences"] == [
        {
            "apiVersion": "mlinfra.io/v1alpha1",
            "kind": "TrainingJob",
            "name": "job",
            "uid": UID,
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]


def test_a_queued_job_waits_with_its_queues_labels_which_its_pods_lack() -> None:
    manifest = built(training_job(queue={"name": "team", "priorityClass": "urgent"}))
    assert manifest["spec"]["suspend"] is True
    labels = manifest["metadata"]["labels"]
    assert (labels[QUEUE_LABEL], labels[QUEUE_PRIORITY_LABEL]) == ("team", "urgent")
    assert not {QUEUE_LABEL, QUEUE_PRIORITY_LABEL} & set(manifest["spec"]["template"]["metadata"]["labels"])
    without = built(training_job(queue={"name": "team"}))
    assert QUEUE_PRIORITY_LABEL not in without["metadata"]["labels"]
    assert "suspend" not in built()["spec"]


def test_what_is_built_is_recognised_again() -> None:
    manifest = built()
    manifest["metadata"]["uid"] = "job-uid"
    found = child_job(manifest)
    assert (found.owner_uid, found.training_job, found.run_id) == (UID, "job", RUN_ID)


def test_the_longest_name_leaves_room_for_the_pods_suffix() -> None:
    job = training_job(name="n" * MAX_NAME_LENGTH)
    manifest = built(job)
    # The Job's controller appends a dash and an index of up to four digits, then a dash and five letters.
    assert len(manifest["metadata"]["name"]) + len("-0000") + len("-abcde") <= 63


def test_bad_input_ends_the_job_and_a_disruption_is_not_counted() -> None:
    spec = built()["spec"]
    fail, disrupted = spec["podFailurePolicy"]["rules"]
    assert fail == {
        "action": "FailJob",
        "onExitCodes": {"containerName": "trainer", "operator": "In", "values": [EXIT_INVALID_INPUT]},
    }
    assert disrupted == {
        "action": "Ignore",
        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
    }
    # A podFailurePolicy is only allowed with this.
    assert spec["template"]["spec"]["restartPolicy"] == "Never"


@pytest.mark.parametrize(
    ("spec", "limits"),
    [
        ({}, {"backoffLimit": 2}),
        (
            {"backoffLimit": 0, "activeDeadlineSeconds": 60},
            {"backoffLimit": 0, "activeDeadlineSeconds": 60},
        ),
    ],
)
def test_retries_and_deadline_are_passed_on(spec: Object, limits: Object) -> None:
    found = built(training_job(**spec))["spec"]
    assert {
        name: found[name] for name in ("backoffLimit", "activeDeadlineSeconds") if name in found
    } == limits


def test_a_pod_has_no_token_and_no_rights_that_it_does_not_need() -> None:
    spec = pod_spec(training_job(**BUILT_IN))
    assert spec["automountServiceAccountToken"] is False
    assert "serviceAccountName" not in spec
    assert spec["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    (only,) = spec["containers"]
    assert only["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }


def test_security_contexts_of_the_users_own_go_before_the_defaults_field_by_field() -> None:
    job = training_job(
        podSecurityContext={"runAsNonRoot": False, "fsGroup": 1000},
        securityContext={"readOnlyRootFilesystem": False},
    )
    assert pod_spec(job)["securityContext"] == {
        "runAsNonRoot": False,
        "seccompProfile": {"type": "RuntimeDefault"},
        "fsGroup": 1000,
    }
    assert container(job)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": False,
    }


def test_what_libraries_write_goes_to_the_scratch_volume_unless_the_user_says_where() -> None:
    assert (environment()["HOME"], environment()["TMPDIR"]) == ("/mlinfra/scratch", "/mlinfra/scratch")
    own = environment(training_job(env=[{"name": "TMPDIR", "value": "/fast"}]))
    assert (own["HOME"], own["TMPDIR"]) == ("/mlinfra/scratch", "/fast")


def test_data_loaders_have_shared_memory_unless_the_user_mounts_some() -> None:
    assert {"name": "mlinfra-shm", "emptyDir": {"medium": "Memory"}} in pod_spec()["volumes"]
    assert {"name": "mlinfra-shm", "mountPath": "/dev/shm"} in container()["volumeMounts"]
    own = training_job(
        volumes=[{"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "8Gi"}}],
        volumeMounts=[{"name": "shm", "mountPath": "/dev/shm"}],
    )
    assert [mount["name"] for mount in container(own)["volumeMounts"]] == ["shm", "mlinfra-scratch"]


@pytest.mark.parametrize(
    ("spec", "image", "command"),
    [
        (BUILT_IN, "trainer:1", ["python", "-m", "mlinfra.training"]),
        (BUILT_IN | {"image": "mine"}, "mine", ["python", "-m", "mlinfra.training"]),
        (BUILT_IN | {"command": ["python", "-m", "own"]}, "trainer:1", ["python", "-m", "own"]),
        ({"image": None, "command": ["sh"]}, "trainer:1", ["sh"]),
        ({"image": "mine"}, "mine", None),
    ],
)
def test_the_image_and_command_are_the_users_else_the_trainers(
    spec: Object, image: str, command: list[str] | None
) -> None:
    found = container(training_job(**spec))
    assert (found["image"], found.get("command")) == (image, command)


def test_the_contracts_variables_come_first_and_the_users_after_them() -> None:
    job = training_job(env=[{"name": "RUN", "value": "$(MLFLOW_RUN_ID)"}])
    found = environment(job)
    assert list(found) == [
        "MLFLOW_TRACKING_URI",
        "MLFLOW_EXPERIMENT_NAME",
        "MLFLOW_RUN_ID",
        TRAINING_JOB_ENV,
        FEATURE_STORE_URI_ENV,
        TERMINATION_LOG_ENV,
        "HOME",
        "TMPDIR",
        "RUN",
    ]
    assert found["MLFLOW_TRACKING_URI"] == "http://mlflow"
    assert found["MLFLOW_EXPERIMENT_NAME"] == "model"
    assert found["MLFLOW_RUN_ID"] == RUN_ID
    assert found[FEATURE_STORE_URI_ENV] == "file:///features"
    assert found["RUN"] == "$(MLFLOW_RUN_ID)"


def test_without_a_feature_store_its_variable_is_absent() -> None:
    assert FEATURE_STORE_URI_ENV not in environment(
        defaults=PodDefaults(image="i", tracking_uri="http://mlflow")
    )


def test_the_training_job_reaches_the_pod_unexpanded() -> None:
    job = training_job(args=["$(HOME)", "$$"])
    text = environment(job)[TRAINING_JOB_ENV]
    # What a kubelet makes of it: $$ is one dollar sign, and no variable is expanded.
    assert "$(" not in text.replace("$$", "")
    told = json.loads(text.replace("$$", "$"))
    assert told["metadata"] == {"name": "job", "namespace": NAMESPACE, "uid": UID}
    assert told["spec"] == job.spec.to_wire()


def test_last_words_are_written_where_the_pod_may_write() -> None:
    spec = pod_spec(
        training_job(
            volumes=[{"name": "data", "hostPath": {"path": "/data"}}],
            volumeMounts=[{"name": "data", "mountPath": "/data", "readOnly": True}],
        )
    )
    (only,) = spec["containers"]
    assert spec["volumes"] == [
        {"name": "data", "hostPath": {"path": "/data"}},
        {"name": "mlinfra-scratch", "emptyDir": {}},
        {"name": "mlinfra-shm", "emptyDir": {"medium": "Memory"}},
    ]
    assert only["volumeMounts"] == [
        {"name": "data", "mountPath": "/data", "readOnly": True},
        {"name": "mlinfra-scratch", "mountPath": "/mlinfra/scratch"},
        {"name": "mlinfra-shm", "mountPath": "/dev/shm"},
    ]
    assert only["terminationMessagePath"] == "/mlinfra/scratch/termination-log"
    assert environment()[TERMINATION_LOG_ENV] == only["terminationMessagePath"]
    assert only["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_scheduling_resources_and_sources_are_passed_on() -> None:
    job = training_job(
        nodeSelector={"disk": "fast"},
        tolerations=[{"key": "gpu", "operator": "Exists"}],
        serviceAccountName="trainer",
        resourcesPerNode={"limits": {"nvidia.com/gpu": 1}},
        envFrom=[{"secretRef": {"name": "credentials"}}],
        args=["--fast"],
        affinity={"nodeAffinity": {}},
        priorityClassName="urgent",
        runtimeClassName="nvidia",
        imagePullSecrets=[{"name": "registry"}],
    )
    spec, only = pod_spec(job), container(job)
    assert spec["nodeSelector"] == {"disk": "fast"}
    assert spec["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
    assert spec["serviceAccountName"] == "trainer"
    assert spec["affinity"] == {"nodeAffinity": {}}
    assert (spec["priorityClassName"], spec["runtimeClassName"]) == ("urgent", "nvidia")
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert only["resources"] == {"limits": {"nvidia.com/gpu": 1}}
    assert only["envFrom"] == [{"secretRef": {"name": "credentials"}}]
    assert only["args"] == ["--fast"]


def test_what_the_operator_sets_is_what_a_training_job_may_not() -> None:
    assert set(CONTRACT_ENVIRONMENT) <= set(environment())


def test_credentials_come_from_a_secret_by_reference_alone() -> None:
    sources = [{"secretRef": {"name": "mlflow-trainer"}}]
    one = {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}}
    found = container(training_job(envFrom=sources, env=[one]))
    assert found["envFrom"] == sources
    assert one in found["env"]
    # Single variables win over whole Secrets: none leads a pod to another server.
    assert {"name": "MLFLOW_TRACKING_URI", "value": "http://mlflow"} in found["env"]
