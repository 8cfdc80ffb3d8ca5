"""Pods that start all together or not at all: a PodGroup of the scheduler. Pure.

The scheduling API is alpha in Kubernetes 1.36: most API servers do not offer it, and then the pods are
scheduled one by one and the TrainingJob says so.
"""

from typing import Any

from mlinfra.kube.resource import POD_GROUPS
from mlinfra.resources import TrainingJob
from mlinfra.resources.names import TRAINING_JOB_UID_LABEL
from mlinfra_operator.conditions import Event, Observation, find
from mlinfra_operator.trainingjob.distribution import derived_name, owner_reference

CONDITION = "GangScheduling"
UNAVAILABLE = Observation(
    CONDITION,
    "False",
    "GangUnavailable",
    f"the API server does not offer {POD_GROUPS.plural} of {POD_GROUPS.api_version}, an alpha API: "
    "the pods are scheduled one by one",
)
AVAILABLE = Observation(CONDITION, "True", "PodGroup", "the scheduler starts all pods together or none")


def build_pod_group(job: TrainingJob) -> dict[str, Any]:
    """The group of all pods of a training, its retries included."""
    return {
        "apiVersion": POD_GROUPS.api_version,
        "kind": POD_GROUPS.kind,
        "metadata": {
            "name": derived_name(job),
            "namespace": job.metadata.namespace,
            "labels": {TRAINING_JOB_UID_LABEL: job.metadata.uid},
            "ownerReferences": [owner_reference(job)],
        },
        "spec": {"schedulingPolicy": {"gang": {"minCount": job.spec.num_nodes}}},
    }


def scheduling_group(job: TrainingJob) -> dict[str, Any]:
    """What the pod template says of its group."""
    return {"podGroupName": derived_name(job)}


def gang_condition(job: TrainingJob, *, offered: bool) -> tuple[Observation, ...]:
    """Whether the pods are scheduled together; nothing where that was not asked for."""
    if not job.spec.gang_scheduling:
        return ()
    return (AVAILABLE if offered else UNAVAILABLE,)


def gang_events(job: TrainingJob, *, offered: bool) -> tuple[Event, ...]:
    """Tells once of what was asked for in vain."""
    told = find(job.status.conditions, CONDITION) is not None
    if offered or told or not job.spec.gang_scheduling:
        return ()
    return (Event("Warning", UNAVAILABLE.reason, UNAVAILABLE.message),)
