"""Pods that train together: a headless Service, and what torchrun reads from the environment. Pure.

Every pod runs torchrun, or a script that the user's image starts with it; the first pod hosts the
rendezvous. torchrun starts its processes anew where a peer was lost, since the Job only replaces the pod
that ended.
"""

import hashlib
from typing import Any

from mlinfra.resources import TrainingJob
from mlinfra.resources.names import MANAGED_LABEL, TRAINING_JOB_LABEL, TRAINING_JOB_UID_LABEL

FIRST_PORT, PORTS = 20000, 12000
"""Below the ports that systems choose for outgoing connections."""


def is_distributed(job: TrainingJob) -> bool:
    """Whether more than one process trains."""
    return job.spec.num_nodes > 1 or job.spec.num_proc_per_node != 1


def derived_name(job: TrainingJob) -> str:
    """The name of Service and PodGroup; unlike a TrainingJob's it begins with a letter and holds no dot."""
    return f"mltj-{_digest(job)[:12]}"


def rendezvous_port(job: TrainingJob) -> int:
    """A port of the TrainingJob's own: on one machine several rendezvous may be under way."""
    return FIRST_PORT + int(_digest(job)[:8], 16) % PORTS


def owner_reference(job: TrainingJob) -> dict[str, Any]:
    """Makes the TrainingJob the owner of what it needs."""
    return {
        "apiVersion": job.api_version,
        "kind": job.kind,
        "name": job.metadata.name,
        "uid": job.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def build_peer_service(job: TrainingJob) -> dict[str, Any]:
    """The headless Service that gives each pod a name, before it is ready: they meet to become so."""
    selector = {TRAINING_JOB_UID_LABEL: job.metadata.uid}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": derived_name(job),
            "namespace": job.metadata.namespace,
            "labels": {MANAGED_LABEL: "true", TRAINING_JOB_LABEL: job.metadata.name, **selector},
            "ownerReferences": [owner_reference(job)],
        },
        "spec": {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": selector},
    }


def torchrun_environment(job: TrainingJob) -> list[dict[str, Any]]:
    """What torchrun reads in place of its options; nothing where one process trains alone."""
    if not is_distributed(job):
        return []
    spec = job.spec
    values = {"PET_NPROC_PER_NODE": str(spec.num_proc_per_node)}
    if spec.num_nodes == 1:
        values |= {"PET_STANDALONE": "1"}
        return [{"name": name, "value": value} for name, value in values.items()]
    port = rendezvous_port(job)
    values |= {
        "PET_NNODES": str(spec.num_nodes),
        "PET_RDZV_BACKEND": "c10d",
        "PET_RDZV_ENDPOINT": f"{job.metadata.name}-0.{derived_name(job)}:{port}",
        "PET_RDZV_ID": job.metadata.uid,
        "PET_MAX_RESTARTS": str(spec.backoff_limit),
    }
    # A pod's own name need not lead to it everywhere; its address does.
    address = {"name": "PET_LOCAL_ADDR", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    return [*({"name": name, "value": value} for name, value in values.items()), address]


def _digest(job: TrainingJob) -> str:
    return hashlib.sha256(job.metadata.uid.encode()).hexdigest()
