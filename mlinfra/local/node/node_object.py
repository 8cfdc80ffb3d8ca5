"""The Node object: what this machine offers, and how the node is doing."""

import os
import platform
from collections.abc import Mapping
from typing import Any

from mlinfra.local.node.pod_status import HOST_ADDRESS, timestamp

MAXIMUM_PODS = 110
LEASE_SECONDS = 40


def machine_capacity(extra: Mapping[str, str]) -> dict[str, str]:
    """CPUs, memory and pods of this machine, and what was added by hand, such as GPUs."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": str(os.cpu_count() or 1),
        "memory": f"{memory // 1024}Ki",
        "ephemeral-storage": f"{_free_storage_kibibytes()}Ki",
        "pods": str(MAXIMUM_PODS),
        **extra,
    }


def _free_storage_kibibytes() -> int:
    found = os.statvfs("/")
    return found.f_bavail * found.f_frsize // 1024


def node_manifest(name: str) -> dict[str, Any]:
    """The Node to create."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": {"x86_64": "amd64", "aarch64": "arm64"}.get(
                    platform.machine(), platform.machine()
                ),
            },
        },
        "spec": {},
    }


def node_status(
    *, capacity: Mapping[str, str], port: int, isolation_failure: str | None, ready: bool, now: float
) -> dict[str, Any]:
    """The Node's status.

    Args:
        capacity: what the machine offers, all of it to pods.
        port: where logs are read.
        isolation_failure: why pods have no mount namespaces; None where they do.
        ready: whether the node takes pods.
        now: seconds since the epoch.
    """
    conditions = [
        _condition(
            "Ready",
            ready,
            "AgentReady" if ready else "AgentStopped",
            "the local node runs pods' commands as processes" if ready else "the local node was stopped",
            now,
        ),
        _condition(
            "PodIsolation",
            isolation_failure is None,
            "MountNamespaces" if isolation_failure is None else "PathMapping",
            "volumes are mounted in namespaces of their own"
            if isolation_failure is None
            else f"mount paths are replaced in arguments and variables: {isolation_failure}",
            now,
        ),
    ]
    return {
        "capacity": dict(capacity),
        "allocatable": dict(capacity),
        "addresses": [{"type": "InternalIP", "address": HOST_ADDRESS}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        "conditions": conditions,
        "nodeInfo": {
            "architecture": platform.machine(),
            "bootID": "",
            "containerRuntimeVersion": "process://mlinfra",
            "kernelVersion": platform.release(),
            "kubeProxyVersion": "",
            "kubeletVersion": "mlinfra",
            "machineID": "",
            "operatingSystem": "linux",
            "osImage": platform.platform(),
            "systemUUID": "",
        },
    }


def lease(name: str, *, owner_uid: str, now: str) -> dict[str, Any]:
    """The Lease that says the node lives."""
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": name,
            "namespace": "kube-node-lease",
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": name, "uid": owner_uid}],
        },
        "spec": {"holderIdentity": name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": now},
    }


def _condition(type_: str, status: bool, reason: str, message: str, now: float) -> dict[str, Any]:
    return {
        "type": type_,
        "status": "True" if status else "False",
        "reason": reason,
        "message": message,
        "lastHeartbeatTime": timestamp(now),
        "lastTransitionTime": timestamp(now),
    }
