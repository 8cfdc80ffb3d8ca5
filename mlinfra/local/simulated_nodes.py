"""Nodes without machines, for tests and benchmarks: kwok answers for their kubelets.

A pod on such a node runs as soon as it is bound, and ends when it is told to or after a while; nothing of
it is executed. The scheduler, the Job's controller and all others are the real ones.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mlinfra.kube import KubernetesClient
from mlinfra.kube.resource import NODES
from mlinfra.local.binaries import KWOK, Report, Sources, find_or_make
from mlinfra.local.cluster import LocalCluster
from mlinfra.local.network import LOOPBACK
from mlinfra.local.processes import ProcessSpec

Object = dict[str, Any]

SIMULATED_LABEL = "mlinfra.io/simulated"
LEASE_SECONDS = 40
ENDLESS_IMAGE = "endless"
"""Pods whose first container has this image run for ever."""
CAPACITY = {"cpu": "64", "memory": "256Gi", "pods": "1000"}
READY = """
{{ $now := Now }}
conditions:
- type: Ready
  status: "True"
  reason: Simulated
  lastHeartbeatTime: {{ $now | Quote }}
  lastTransitionTime: {{ $now | Quote }}
"""
RUNS = """
{{ $now := Now }}
conditions:
- {type: Initialized, status: "True", lastTransitionTime: {{ $now | Quote }}}
- {type: Ready, status: "True", lastTransitionTime: {{ $now | Quote }}}
- {type: ContainersReady, status: "True", lastTransitionTime: {{ $now | Quote }}}
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  ready: true
  restartCount: 0
  state: {running: {startedAt: {{ $now | Quote }}}}
{{ end }}
podIP: 127.0.0.1
phase: Running
startTime: {{ $now | Quote }}
"""
ENDED = """
{{ $now := Now }}
conditions:
- {type: Ready, status: "False", lastTransitionTime: {{ $now | Quote }}}
- {type: ContainersReady, status: "False", lastTransitionTime: {{ $now | Quote }}}
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  ready: false
  restartCount: 0
  state: {terminated: {exitCode: %(exit_code)d, reason: %(reason)s, finishedAt: {{ $now | Quote }}}}
{{ end }}
phase: %(phase)s
"""
COMPLETED = {"exit_code": 0, "reason": "Completed", "phase": "Succeeded"}
TERMINATED = {"exit_code": 143, "reason": "Error", "phase": "Failed"}
ACTIVE, ENDED_PHASES = ("Pending", "Running"), ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class SimulatedNode:
    """A node as the scheduler sees it.

    Attributes:
        capacity: resources on top of `CAPACITY`, such as ``nvidia.com/gpu``.
        taints: as in a Node.
    """

    name: str
    capacity: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: Sequence[Object] = ()


async def start_kwok(
    cluster: LocalCluster,
    report: Report,
    *,
    pods_end_after: float | None = None,
    sources: Sources | None = None,
) -> None:
    """Have kwok answer for all nodes that `add_nodes` adds; it ends with the cluster.

    Args:
        cluster: a cluster that is up.
        report: told what is done, since kwok may have to be built.
        pods_end_after: seconds that pods run before they end well; for ever where absent, and those of
            `ENDLESS_IMAGE`.
        sources: where kwok comes from.

    Raises:
        MlinfraError: kwok cannot be had.
    """
    program = (await find_or_make(sources or Sources.of(), report, [KWOK]))[KWOK]
    stages = cluster.state.directory / "kwok.yaml"
    stages.write_text(stages_of(pods_end_after=pods_end_after))
    cluster.processes.ensure(kwok(program, cluster.kubeconfig, stages))


def kwok(program: Path, kubeconfig: Path, stages: Path) -> ProcessSpec:
    """The daemon's command line."""
    argv = [
        str(program),
        f"--kubeconfig={kubeconfig}",
        f"--manage-nodes-with-label-selector={SIMULATED_LABEL}=true",
        f"--config={stages}",
        f"--node-ip={LOOPBACK}",
        f"--node-lease-duration-seconds={LEASE_SECONDS}",
        "--v=WARN",
    ]
    return ProcessSpec("kwok", argv, inputs=(kubeconfig, stages))


def stages_of(*, pods_end_after: float | None) -> str:
    """What kwok does to pods, as its configuration file."""
    not_ready = [
        {
            "key": '.status.conditions.[] | select( .type == "Ready" ) | .status',
            "operator": "NotIn",
            "values": ["True"],
        }
    ]
    stages = [
        _stage("node-ready", "Node", not_ready, {"statusTemplate": READY}),
        _pod_stage("pod-runs", deleted=False, phases=["Pending"], then={"statusTemplate": RUNS}),
        _pod_stage(
            "pod-is-stopped", deleted=True, phases=ACTIVE, then={"statusTemplate": ENDED % TERMINATED}
        ),
        _pod_stage("pod-is-gone", deleted=True, phases=ENDED_PHASES, then={"delete": True}),
    ]
    if pods_end_after is not None:
        ends = _pod_stage(
            "pod-ends", deleted=False, phases=["Running"], then={"statusTemplate": ENDED % COMPLETED}
        )
        ends["spec"]["selector"]["matchExpressions"].append(
            {"key": ".spec.containers.[0].image", "operator": "NotIn", "values": [ENDLESS_IMAGE]}
        )
        ends["spec"]["delay"] = {"durationMilliseconds": round(pods_end_after * 1000)}
        stages.append(ends)
    return yaml.safe_dump_all(stages, sort_keys=False)


async def add_nodes(client: KubernetesClient, nodes: Iterable[SimulatedNode]) -> None:
    """Create the nodes; kwok has them ready soon."""
    for node in nodes:
        resources = {**CAPACITY, **node.capacity}
        await client.create(NODES, _manifest(node))
        status = {"capacity": resources, "allocatable": resources}
        await client.merge_patch(NODES, node.name, {"status": status}, subresource="status")


async def remove_nodes(client: KubernetesClient, nodes: Iterable[SimulatedNode]) -> None:
    """Delete the nodes; their pods are lost."""
    for node in nodes:
        await client.delete(NODES, node.name)


def _manifest(node: SimulatedNode) -> Object:
    labels = {**node.labels, SIMULATED_LABEL: "true", "kubernetes.io/hostname": node.name}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node.name, "labels": labels},
        "spec": {"taints": list(node.taints)},
    }


def _pod_stage(name: str, *, deleted: bool, phases: Sequence[str], then: Object) -> Object:
    selected: list[Object] = [
        {"key": ".metadata.deletionTimestamp", "operator": "Exists" if deleted else "DoesNotExist"},
        {"key": ".status.phase", "operator": "In", "values": list(phases)},
    ]
    return _stage(name, "Pod", selected, then)


def _stage(name: str, kind: str, selected: Sequence[Object], then: Object) -> Object:
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "Stage",
        "metadata": {"name": name},
        "spec": {
            "resourceRef": {"apiGroup": "v1", "kind": kind},
            "selector": {"matchExpressions": list(selected)},
            "next": then,
        },
    }
