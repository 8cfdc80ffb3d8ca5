"""The child batch/v1 Job of a TrainingJob. Pure."""

import json
from dataclasses import dataclass
from typing import Any

from mlinfra.resources import TrainingJob
from mlinfra.resources.names import (
    EXIT_INVALID_INPUT,
    EXIT_TERMINATED,
    FEATURE_STORE_URI_ENV,
    MANAGED_LABEL,
    QUEUE_LABEL,
    QUEUE_PRIORITY_LABEL,
    SCRATCH_PATH,
    SCRATCH_VOLUME,
    SHARED_MEMORY_VOLUME,
    SPEC_STAMP_ANNOTATION,
    TERMINATION_LOG_ENV,
    TRAINING_JOB_ENV,
    TRAINING_JOB_LABEL,
    TRAINING_JOB_UID_LABEL,
)
from mlinfra_operator.pod_security import (
    CONTAINER_SECURITY,
    POD_SECURITY,
    TERMINATION_LOG,
    WRITABLE_FOLDERS,
)
from mlinfra_operator.trainingjob.distribution import (
    derived_name,
    owner_reference,
    torchrun_environment,
)
from mlinfra_operator.trainingjob.gang import scheduling_group
from mlinfra_operator.trainingjob.observed import CONTAINER
from mlinfra_operator.trainingjob.stamp import stamp_of

SHARED_MEMORY_PATH = "/dev/shm"
BUILT_IN_COMMAND = ["python", "-m", "mlinfra.training"]
TORCHRUN_COMMAND = ["python", "-m", "mlinfra.training.torchrun", "-m", "mlinfra.training"]


@dataclass(frozen=True, slots=True)
class PodDefaults:
    """What the operator is configured to give every training pod.

    Attributes:
        gang_scheduling: whether the API server offers PodGroups.
    """

    image: str
    tracking_uri: str
    feature_store_uri: str | None = None
    gang_scheduling: bool = False


def build_job(job: TrainingJob, *, run_id: str, defaults: PodDefaults) -> dict[str, Any]:
    """The manifest of the child Job, which trains into the MLflow run ``run_id``."""
    metadata, spec = job.metadata, job.spec
    labels = {
        MANAGED_LABEL: "true",
        TRAINING_JOB_LABEL: metadata.name,
        TRAINING_JOB_UID_LABEL: metadata.uid,
    }
    queue = _queue_labels(job)
    job_spec: dict[str, Any] = {
        "backoffLimit": spec.backoff_limit,
        "podFailurePolicy": {"rules": _failure_rules(job)},
        "template": {
            "metadata": {"labels": labels},
            "spec": _pod_spec(job, run_id=run_id, defaults=defaults),
        },
    }
    if queue:
        # Kueue starts it.
        job_spec["suspend"] = True
    if spec.num_nodes > 1:
        job_spec |= {
            "completionMode": "Indexed",
            "completions": spec.num_nodes,
            "parallelism": spec.num_nodes,
        }
    if spec.active_deadline_seconds is not None:
        job_spec["activeDeadlineSeconds"] = spec.active_deadline_seconds
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": metadata.name,
            "namespace": metadata.namespace,
            "labels": labels | queue,
            "annotations": {SPEC_STAMP_ANNOTATION: stamp_of(job)},
            "ownerReferences": [owner_reference(job)],
        },
        "spec": job_spec,
    }


def _queue_labels(job: TrainingJob) -> dict[str, str]:
    """Labels for Kueue; of the Job alone, since it would queue labelled pods one by one."""
    queue = job.spec.queue
    if queue is None:
        return {}
    priority = {} if queue.priority_class is None else {QUEUE_PRIORITY_LABEL: queue.priority_class}
    return {QUEUE_LABEL: queue.name} | priority


def _failure_rules(job: TrainingJob) -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = [
        {"action": "FailJob", "onExitCodes": _exits_with(EXIT_INVALID_INPUT)},
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    ]
    if job.spec.num_nodes > 1 and _is_built_in(job):
        # Where one pod has to go, its peers stop at the same batch. Own code may end so however often.
        rules.append({"action": "Ignore", "onExitCodes": _exits_with(EXIT_TERMINATED)})
    return rules


def _exits_with(code: int) -> dict[str, Any]:
    return {"containerName": CONTAINER, "operator": "In", "values": [code]}


def _pod_spec(job: TrainingJob, *, run_id: str, defaults: PodDefaults) -> dict[str, Any]:
    spec = job.spec
    volumes = [volume.to_wire() for volume in spec.volumes or ()]
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": POD_SECURITY | (spec.pod_security_context or {}),
        "containers": [_container(job, run_id=run_id, defaults=defaults)],
        "volumes": [*volumes, {"name": SCRATCH_VOLUME, "emptyDir": {}}, *_shared_memory_volume(job)],
    }
    if spec.num_nodes > 1:
        pod["subdomain"] = derived_name(job)
    if spec.gang_scheduling and defaults.gang_scheduling:
        pod["schedulingGroup"] = scheduling_group(job)
    if spec.service_account_name is not None:
        pod["serviceAccountName"] = spec.service_account_name
    if spec.node_selector:
        pod["nodeSelector"] = spec.node_selector
    if spec.tolerations:
        pod["tolerations"] = [toleration.to_wire() for toleration in spec.tolerations]
    if spec.affinity:
        pod["affinity"] = spec.affinity
    if spec.priority_class_name is not None:
        pod["priorityClassName"] = spec.priority_class_name
    if spec.runtime_class_name is not None:
        pod["runtimeClassName"] = spec.runtime_class_name
    if spec.image_pull_secrets:
        pod["imagePullSecrets"] = [secret.to_wire() for secret in spec.image_pull_secrets]
    return pod


def _container(job: TrainingJob, *, run_id: str, defaults: PodDefaults) -> dict[str, Any]:
    spec = job.spec
    mounts = [mount.to_wire() for mount in spec.volume_mounts or ()]
    shared_memory = [
        {"name": volume["name"], "mountPath": SHARED_MEMORY_PATH} for volume in _shared_memory_volume(job)
    ]
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": spec.image or defaults.image,
        "env": _environment(job, run_id=run_id, defaults=defaults),
        "volumeMounts": [*mounts, {"name": SCRATCH_VOLUME, "mountPath": SCRATCH_PATH}, *shared_memory],
        "terminationMessagePath": TERMINATION_LOG,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": CONTAINER_SECURITY | (spec.security_context or {}),
    }
    command = _built_in_command(job) if _is_built_in(job) else spec.command
    if command is not None:
        container["command"] = command
    if spec.args is not None:
        container["args"] = spec.args
    if spec.env_from:
        container["envFrom"] = [source.to_wire() for source in spec.env_from]
    if spec.resources_per_node is not None:
        container["resources"] = spec.resources_per_node.to_wire()
    return container


def _is_built_in(job: TrainingJob) -> bool:
    """Whether the pods run the built-in trainer; a command of the user's own goes before it."""
    return job.spec.model is not None and not job.spec.command


def _built_in_command(job: TrainingJob) -> list[str]:
    processes = job.spec.num_proc_per_node
    if job.spec.num_nodes > 1 or not isinstance(processes, int):
        return TORCHRUN_COMMAND
    # Without torchrun, which starts its processes anew before it tells that the input is bad.
    return [*BUILT_IN_COMMAND, "--processes", str(processes)] if processes > 1 else BUILT_IN_COMMAND


def _environment(job: TrainingJob, *, run_id: str, defaults: PodDefaults) -> list[dict[str, Any]]:
    metadata = job.metadata
    told = {
        "metadata": {"name": metadata.name, "namespace": metadata.namespace, "uid": metadata.uid},
        "spec": job.spec.to_wire(),
    }
    values = {
        "MLFLOW_TRACKING_URI": defaults.tracking_uri,
        "MLFLOW_EXPERIMENT_NAME": job.spec.model_name,
        "MLFLOW_RUN_ID": run_id,
        # Kubernetes expands $(NAME) in values, and $$ stands for one dollar sign.
        TRAINING_JOB_ENV: json.dumps(told, separators=(",", ":")).replace("$", "$$"),
        FEATURE_STORE_URI_ENV: defaults.feature_store_uri,
        TERMINATION_LOG_ENV: TERMINATION_LOG,
    }
    own = {variable.name for variable in job.spec.env or ()}
    # Nothing but the scratch volume can be written to: libraries keep their files there.
    values |= {name: SCRATCH_PATH for name in WRITABLE_FOLDERS if name not in own}
    contract = [{"name": name, "value": value} for name, value in values.items() if value is not None]
    # The contract comes first, so that a user's value may refer to it by $(NAME).
    return [*contract, *torchrun_environment(job), *(variable.to_wire() for variable in job.spec.env or ())]


def _shared_memory_volume(job: TrainingJob) -> list[dict[str, Any]]:
    """PyTorch's data loaders pass batches through it, and 64 MiB, as containers have it, are soon too few."""
    if any(mount.mount_path.rstrip("/") == SHARED_MEMORY_PATH for mount in job.spec.volume_mounts or ()):
        return []
    return [{"name": SHARED_MEMORY_VOLUME, "emptyDir": {"medium": "Memory"}}]
