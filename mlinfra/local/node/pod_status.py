"""A pod's status, as a pure function of what its containers' processes did."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mlinfra.local.node.refusal import Refusal

HOST_ADDRESS = "127.0.0.1"
EXIT_CANNOT_RUN = 78
MESSAGE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Waiting:
    """Not started: the reason as a kubelet names it."""

    reason: str = "ContainerCreating"
    message: str = ""


@dataclass(frozen=True, slots=True)
class Running:
    """Started; times are seconds since the epoch."""

    pid: int
    started_at: float


@dataclass(frozen=True, slots=True)
class Terminated:
    """Ended; ``message`` is the termination message."""

    exit_code: int
    reason: str
    started_at: float
    finished_at: float
    signal: int = 0
    message: str = ""


State = Waiting | Running | Terminated


@dataclass(frozen=True, slots=True)
class ContainerObservation:
    """What is known of one container; ``started`` and ``ready`` are what its probes say while it runs."""

    name: str
    image: str
    state: State
    restarts: int = 0
    previous: Terminated | None = None
    started: bool = False
    ready: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    """Why a whole pod ended by decree: its deadline, the node's stop, a refusal."""

    reason: str
    message: str
    disruption: str | None = None
    """Reason of the condition DisruptionTarget, where the pod itself is not to blame."""


def refused(pod: Mapping[str, Any], refusal: Refusal, *, now: float) -> list[ContainerObservation]:
    """Containers of a pod that cannot run here: the one to blame has failed, so that its Job notices."""
    blamed = refusal.container or pod["spec"]["containers"][0]["name"]
    failed = Terminated(EXIT_CANNOT_RUN, refusal.reason, now, now, message=refusal.message)
    return [
        ContainerObservation(
            item["name"], item.get("image", ""), failed if item["name"] == blamed else Waiting()
        )
        for item in pod["spec"]["containers"]
    ]


def phase_of(containers: Sequence[ContainerObservation], *, will_restart: bool) -> str:
    """Phase of a pod whose containers are in these states."""
    states = [container.state for container in containers]
    if all(isinstance(state, Terminated) for state in states) and not will_restart:
        failed = any(isinstance(state, Terminated) and state.exit_code != 0 for state in states)
        return "Failed" if failed else "Succeeded"
    started = any(not isinstance(state, Waiting) for state in states)
    return "Running" if started or any(container.restarts for container in containers) else "Pending"


def pod_status(
    pod: Mapping[str, Any],
    containers: Sequence[ContainerObservation],
    *,
    address: str | None,
    start_time: float,
    now: float,
    ended: Ended | None = None,
    will_restart: bool = False,
) -> dict[str, Any]:
    """The status to store.

    Args:
        pod: the pod as last seen; its conditions keep their transition times where they did not change.
        containers: what is known of each container.
        address: the pod's IP address.
        start_time: when the node took the pod up.
        now: seconds since the epoch.
        ended: set where the pod ended by decree, whatever its containers say.
        will_restart: whether containers that failed are started again.
    """
    phase = "Failed" if ended else phase_of(containers, will_restart=will_restart)
    finished = phase in {"Succeeded", "Failed"}
    ready = not finished and all(isinstance(item.state, Running) and item.ready for item in containers)
    reason = "PodCompleted" if phase == "Succeeded" else "PodFailed" if phase == "Failed" else ""
    why = reason or ("" if ready else "ContainersNotReady")
    wanted = {
        "PodReadyToStartContainers": (not finished, ""),
        "Initialized": (True, reason),
        "ContainersReady": (ready, why),
        "Ready": (ready, why),
    }
    old = {item["type"]: item for item in pod.get("status", {}).get("conditions") or []}
    conditions = [item for type_, item in old.items() if type_ not in wanted]
    conditions += [_condition(old, type_, status, why, now=now) for type_, (status, why) in wanted.items()]
    if ended and ended.disruption:
        conditions = [item for item in conditions if item["type"] != "DisruptionTarget"]
        conditions.append(
            _condition(old, "DisruptionTarget", True, ended.disruption, message=ended.message, now=now)
        )
    status: dict[str, Any] = {
        "phase": phase,
        "conditions": conditions,
        "hostIP": HOST_ADDRESS,
        "hostIPs": [{"ip": HOST_ADDRESS}],
        "startTime": timestamp(start_time),
        "containerStatuses": [_container_status(item) for item in containers],
    }
    if address:
        status |= {"podIP": address, "podIPs": [{"ip": address}]}
    if ended:
        status |= {"reason": ended.reason, "message": ended.message}
    return status


def timestamp(seconds: float) -> str:
    """A time as Kubernetes writes it, to the second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _condition(
    old: Mapping[str, Any], type_: str, status: bool, reason: str, *, now: float, message: str = ""
) -> dict[str, Any]:
    value = "True" if status else "False"
    kept = old.get(type_, {})
    changed = kept.get("status") != value
    time = timestamp(now) if changed else kept.get("lastTransitionTime", timestamp(now))
    condition = {"type": type_, "status": value, "lastTransitionTime": time}
    optional = {"reason": reason, "message": message}
    return condition | {name: text for name, text in optional.items() if text}


def _container_status(container: ContainerObservation) -> dict[str, Any]:
    status: dict[str, Any] = {
        "name": container.name,
        "image": container.image,
        "imageID": "",
        "ready": isinstance(container.state, Running) and container.ready,
        "started": isinstance(container.state, Running) and container.started,
        "restartCount": container.restarts,
        "state": _state(container.state),
    }
    if isinstance(container.state, Running):
        status["containerID"] = f"process://{container.state.pid}"
    if container.previous:
        status["lastState"] = _state(container.previous)
    return status


def _state(state: State) -> dict[str, Any]:
    if isinstance(state, Waiting):
        return {"waiting": {"reason": state.reason, "message": state.message}}
    if isinstance(state, Running):
        return {"running": {"startedAt": timestamp(state.started_at)}}
    ended: dict[str, Any] = {
        "exitCode": state.exit_code,
        "reason": state.reason,
        "startedAt": timestamp(state.started_at),
        "finishedAt": timestamp(state.finished_at),
    }
    if state.signal:
        ended["signal"] = state.signal
    if state.message:
        ended["message"] = state.message.encode()[-MESSAGE_BYTES:].decode(errors="ignore")
    return {"terminated": ended}
