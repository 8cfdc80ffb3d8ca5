"""What is observed of a served version: its Deployment, the model's Services, its pods. Plain values."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mlinfra.resources.names import BESIDE_LABEL_PREFIX, MANAGED_LABEL, MODEL_VERSION_LABEL
from mlinfra.resources.serving import ServedStage
from mlinfra_operator.termination import told_at_the_end

SPEC_HASH_ANNOTATION = "mlinfra.io/spec-hash"
"""On a Deployment: what it was made from, so that it is written only where that changed."""
AUTOSCALED_ANNOTATION = "mlinfra.io/autoscaled"
SWITCHED_ANNOTATION = "mlinfra.io/switched-at"
"""On a Service: since when it leads to the version that it leads to."""
PREVIOUS_ANNOTATION = "mlinfra.io/previous-version"
"""On a Service: the version that it led to before."""
CANARY_ANNOTATION = "mlinfra.io/canary-version"
"""On a Service: the version whose pods it leads to as well."""
CANARY_SINCE_ANNOTATION = "mlinfra.io/canary-since"
GRPC_PORT_NAME = "grpc"
HARMLESS_WAITS = ("ContainerCreating", "PodInitializing")

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Deployment:
    """The Deployment of one version.

    Attributes:
        version: number of the version.
        owner: UID of the ModelVersion that it belongs to; None where it is not one's.
        spec_hash: what it was made from.
        desired, ready: pods that should be, and that are ready.
        available: whether all that should be are ready, and made from the newest spec.
        beside: numbers of the versions beside which its pods may answer, its own among them.
        failure: why pods cannot be created; None where they can.
    """

    name: str
    uid: str
    version: str
    owner: str | None
    spec_hash: str | None
    beside: frozenset[str] = frozenset()
    desired: int = 1
    ready: int = 0
    available: bool = False
    autoscaled: bool = False
    deleting: bool = False
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Lead:
    """Where a Service leads.

    Attributes:
        version: number of the version that it leads to.
        switched_at: since when.
        previous: the one that it led to before.
        canary: the one whose pods it leads to as well.
        canary_since: since when.
        grpc: whether it has a port for gRPC.
    """

    version: str
    switched_at: datetime
    previous: str | None = None
    canary: str | None = None
    canary_since: datetime | None = None
    grpc: bool = False


@dataclass(frozen=True, slots=True)
class Service:
    """A model's Service in one stage.

    Attributes:
        version, switched_at, previous, canary, canary_since: where it leads, as far as it tells.
        owners: UIDs by names of the ModelVersions that it belongs to.
        address: its ClusterIP.
        grpc: whether it has a port for gRPC.
        ours: whether the operator made it.
    """

    name: str
    version: str | None = None
    switched_at: datetime | None = None
    previous: str | None = None
    canary: str | None = None
    canary_since: datetime | None = None
    owners: Mapping[str, str] = field(default_factory=dict)
    address: str | None = None
    grpc: bool = False
    ours: bool = True


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why pods are not ready, as the first of them tells; ``reason`` in CamelCase."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Successor:
    """Another version of the model that has a stage and asks to be served in it."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Observed:
    """All that a plan of serving decides on.

    Attributes:
        known: whether Deployments and Services are known at all.
        deployment: the version's own.
        others: those of the model's other versions, by number.
        services: the model's Services by stage.
        successors: by stage, the other version that has it.
        siblings: UIDs by names of all ModelVersions of the model that exist.
        digest: SHA-256 of the model's file; "unasked" before MLflow was asked, None where it has none.
        trouble: what the pods say; None where they were not asked.
        refusal: what the API server, or MLflow, refused.
    """

    known: bool = True
    deployment: Deployment | None = None
    others: Mapping[str, Deployment] = field(default_factory=dict)
    services: Mapping[ServedStage, Service] = field(default_factory=dict)
    successors: Mapping[ServedStage, Successor] = field(default_factory=dict)
    siblings: Mapping[str, str] = field(default_factory=dict)
    digest: str | None = "unasked"
    trouble: Trouble | None = None
    refusal: Trouble | None = None


def deployment_of(obj: Object) -> Deployment:
    """From the API object."""
    metadata, spec, status = obj["metadata"], obj["spec"], obj.get("status") or {}
    annotations = metadata.get("annotations") or {}
    desired, updated = spec.get("replicas", 1), status.get("updatedReplicas", 0)
    current = status.get("observedGeneration", 0) >= metadata.get("generation", 0)
    failures = [
        item
        for item in status.get("conditions") or ()
        if item["type"] == "ReplicaFailure" and item["status"] == "True"
    ]
    return Deployment(
        name=metadata["name"],
        uid=metadata["uid"],
        version=(metadata.get("labels") or {}).get(MODEL_VERSION_LABEL, ""),
        owner=next(
            (ref["uid"] for ref in metadata.get("ownerReferences") or () if ref.get("controller")), None
        ),
        spec_hash=annotations.get(SPEC_HASH_ANNOTATION),
        beside=_beside(spec["template"]["metadata"].get("labels") or {}),
        desired=desired,
        ready=status.get("readyReplicas", 0),
        available=current
        and desired > 0
        and updated >= desired
        # Of pods of two templates nobody tells whose are available.
        and status.get("replicas", 0) <= updated
        and status.get("availableReplicas", 0) >= desired,
        autoscaled=AUTOSCALED_ANNOTATION in annotations,
        deleting="deletionTimestamp" in metadata,
        failure=failures[0].get("message") if failures else None,
    )


def service_of(obj: Object) -> Service:
    """From the API object."""
    metadata, spec = obj["metadata"], obj["spec"]
    annotations, selector = metadata.get("annotations") or {}, spec.get("selector") or {}
    shared = next(iter(_beside(selector)), None)
    return Service(
        name=metadata["name"],
        version=shared or selector.get(MODEL_VERSION_LABEL),
        previous=annotations.get(PREVIOUS_ANNOTATION),
        switched_at=_moment(annotations.get(SWITCHED_ANNOTATION)),
        canary=annotations.get(CANARY_ANNOTATION) if shared is not None else None,
        canary_since=_moment(annotations.get(CANARY_SINCE_ANNOTATION)) if shared is not None else None,
        owners={ref["name"]: ref["uid"] for ref in metadata.get("ownerReferences") or ()},
        address=spec.get("clusterIP"),
        grpc=any(port.get("name") == GRPC_PORT_NAME for port in spec.get("ports") or ()),
        ours=(metadata.get("labels") or {}).get(MANAGED_LABEL) == "true",
    )


def trouble_of(pods: Iterable[Object]) -> Trouble:
    """Why pods are not ready: a crash or a refusal before what may still pass by itself."""
    found = [trouble for pod in pods if (trouble := _trouble(pod)) is not None]
    return min(
        found,
        key=lambda each: each.reason in ("NotReady", "Starting"),
        default=Trouble("Starting", "no pod yet"),
    )


def ready_address_of(pods: Iterable[Object]) -> str | None:
    """The address of a pod that is ready; None where none is."""
    found = [
        pod["status"]["podIP"]
        for pod in pods
        if _is_ready(pod.get("status") or {})
        and pod["status"].get("podIP")
        and not pod["metadata"].get("deletionTimestamp")
    ]
    return min(found, default=None)


def _trouble(pod: Object) -> Trouble | None:
    name, status = pod["metadata"]["name"], pod.get("status") or {}
    if pod["metadata"].get("deletionTimestamp"):
        return None
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            reason = condition.get("reason") or "Unschedulable"
            return Trouble(reason, f"pod {name}: {condition.get('message', '')}")
    if status.get("phase") == "Failed":
        return Trouble(
            status.get("reason") or "PodFailed", f"pod {name}: {status.get('message') or 'failed'}"
        )
    for container in status.get("containerStatuses") or ():
        state = container.get("state") or {}
        last = (container.get("lastState") or {}).get("terminated") or state.get("terminated")
        told = told_at_the_end(last.get("message", "")) if last else None
        ended = (
            f"; ended with exit code {last['exitCode']} {last.get('message', '')}".rstrip() if last else ""
        )
        waiting = state.get("waiting") or {}
        if waiting.get("reason", HARMLESS_WAITS[0]) not in HARMLESS_WAITS:
            if told is not None:
                return Trouble(told[0], f"pod {name}: {told[1]}")
            why = waiting.get("message") or waiting["reason"]
            return Trouble(waiting["reason"], f"pod {name}: {why}{ended}")
        if "terminated" in state:
            return Trouble("Crashed", f"pod {name}{ended}")
        if "running" in state and not container.get("ready"):
            return Trouble("NotReady", f"pod {name} runs, and its readiness probe does not pass yet{ended}")
    return None if _is_ready(status) else Trouble("Starting", f"pod {name} starts")


def _is_ready(status: Object) -> bool:
    conditions = status.get("conditions") or ()
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def _beside(labels: Mapping[str, str]) -> frozenset[str]:
    return frozenset(
        name.removeprefix(BESIDE_LABEL_PREFIX) for name in labels if name.startswith(BESIDE_LABEL_PREFIX)
    )


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    # Where a person has edited it the time is not known.
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None
