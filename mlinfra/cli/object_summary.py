"""What one object says of itself in four words: phase, ready, reason, message. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

Object = Mapping[str, Any]

LONGEST_LINE = 200
LEFT_OUT = " … "
SECONDS_OF = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
SMALLEST_WITHOUT_REST = 10
"""From so many of a unit on, an age is told in that unit alone."""


@dataclass(frozen=True, slots=True)
class Summary:
    """The state of an object.

    Attributes:
        phase: as the object itself says, or what comes nearest to it.
        ready: ``True``, ``False`` or ``Unknown`` of a condition, or how many of how many are.
        reason: why, in CamelCase.
        message: the same for people.
    """

    phase: str = ""
    ready: str = ""
    reason: str = ""
    message: str = ""

    @property
    def why(self) -> str:
        """Reason and message in one line; of a long one, such as the end of a log, beginning and end."""
        line = " ".join(": ".join(part for part in (self.reason, self.message) if part).split())
        if len(line) <= LONGEST_LINE:
            return line
        half = (LONGEST_LINE - len(LEFT_OUT)) // 2
        return f"{line[:half]}{LEFT_OUT}{line[-half:]}"


def summary_of(obj: Object, kind: str | None = None) -> Summary:
    """The state of an object of any kind; an unknown kind has none.

    Args:
        obj: the object.
        kind: its kind, where the object does not say it, as an item of a list.
    """
    found = _summary_of(obj, kind or obj["kind"])
    return Summary("Terminating", found.ready) if "deletionTimestamp" in obj["metadata"] else found


def _summary_of(obj: Object, kind: str) -> Summary:
    match kind:
        case "TrainingJob" | "ModelVersion" | "RetrainingPolicy":
            return _of_own_resource(obj)
        case "Job":
            return _of_job(obj)
        case "Pod":
            return _of_pod(obj)
        case "Deployment":
            return _of_deployment(obj)
        case "ReplicaSet":
            return Summary(ready=_replicas(obj))
        case "Service":
            return Summary(phase=_spec(obj).get("type", ""))
        case "HorizontalPodAutoscaler":
            return _of_autoscaler(obj)
        case _:
            return Summary()


def age_of(created: str, now: datetime) -> str:
    """How long ago an API timestamp was, in its two largest units at most: 45s, 3m20s, 12h, 5d."""
    seconds = max(0, int((now - datetime.fromisoformat(created)).total_seconds()))
    for (unit, size), (finer, finer_size) in pairwise(SECONDS_OF):
        count, rest = divmod(seconds, size)
        if count:
            below = rest // finer_size if count < SMALLEST_WITHOUT_REST else 0
            return f"{count}{unit}{below}{finer}" if below else f"{count}{unit}"
    return f"{seconds}s"


def utc_now() -> datetime:
    return datetime.now(UTC)


def _spec(obj: Object) -> Object:
    return obj.get("spec") or {}


def _status(obj: Object) -> Object:
    return obj.get("status") or {}


def _conditions(obj: Object) -> dict[str, Object]:
    return {condition["type"]: condition for condition in _status(obj).get("conditions") or ()}


def _true(conditions: Mapping[str, Object], type_: str) -> Object | None:
    found = conditions.get(type_)
    return found if found and found["status"] == "True" else None


def _of_own_resource(obj: Object) -> Summary:
    conditions = _conditions(obj)
    ready = conditions.get("Ready", {})
    phase = _status(obj).get("phase") or ""
    told = next(
        (found for type_ in ("Failed", "Stalled", "Reconciling") if (found := _true(conditions, type_))),
        ready,
    )
    return Summary(phase, ready.get("status", ""), told.get("reason") or "", told.get("message") or "")


def _of_job(obj: Object) -> Summary:
    spec, status, conditions = _spec(obj), _status(obj), _conditions(obj)
    wanted = spec.get("completions") or spec.get("parallelism") or 1
    for type_ in ("Complete", "Failed", "Suspended"):
        if found := _true(conditions, type_):
            done = status.get("succeeded") or 0
            reason = found.get("reason") or ""
            failed = type_ == "Failed"
            return Summary(type_, f"{done}/{wanted}", reason, found.get("message") or "" if failed else "")
    phase = "Running" if status.get("active") else "Pending"
    return Summary(phase, f"{(status.get('ready') or 0) + (status.get('succeeded') or 0)}/{wanted}")


def _of_pod(obj: Object) -> Summary:
    status = _status(obj)
    containers = status.get("containerStatuses") or []
    ready = f"{sum(1 for each in containers if each.get('ready'))}/{len(_spec(obj).get('containers') or ())}"
    phase = status.get("phase") or ""
    if status.get("reason"):
        return Summary(phase, ready, status["reason"], status.get("message") or "")
    for container in containers:
        state = container.get("state") or {}
        if waiting := state.get("waiting"):
            return Summary(phase, ready, waiting.get("reason") or "", waiting.get("message") or "")
        if (ended := state.get("terminated")) and ended.get("exitCode"):
            return Summary(phase, ready, ended.get("reason") or "", f"exit code {ended['exitCode']}")
    scheduled = _conditions(obj).get("PodScheduled", {})
    if scheduled.get("status") == "False":
        return Summary(phase, ready, scheduled.get("reason") or "", scheduled.get("message") or "")
    return Summary(phase, ready)


def _replicas(obj: Object) -> str:
    wanted = _spec(obj).get("replicas")
    return f"{_status(obj).get('readyReplicas') or 0}/{1 if wanted is None else wanted}"


def _of_deployment(obj: Object) -> Summary:
    conditions = _conditions(obj)
    available = _true(conditions, "Available") is not None
    missing = next(
        (
            found
            for type_ in ("ReplicaFailure", "Progressing", "Available")
            if (found := conditions.get(type_)) and (found["status"] == "True") == (type_ == "ReplicaFailure")
        ),
        {},
    )
    phase = "Available" if available else "Unavailable"
    return Summary(phase, _replicas(obj), missing.get("reason") or "", missing.get("message") or "")


def _of_autoscaler(obj: Object) -> Summary:
    status, spec = _status(obj), _spec(obj)
    limited = _conditions(obj).get("ScalingActive", {})
    told = limited if limited.get("status") == "False" else {}
    return Summary(
        ready=f"{status.get('currentReplicas') or 0}/{status.get('desiredReplicas') or 0}",
        reason=told.get("reason") or "",
        message=told.get("message")
        or f"{spec.get('minReplicas') or 1} to {spec.get('maxReplicas')} replicas",
    )
