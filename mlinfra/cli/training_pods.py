"""Which pods of a TrainingJob have the log that is asked for, and what to say where none has. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mlinfra.cli.access import ClusterAccessError, UnknownResourceError
from mlinfra.cli.object_summary import Object, summary_of

COMPLETION_INDEX = "batch.kubernetes.io/job-completion-index"
"""Annotation on a pod of an Indexed Job: its number."""
ENDED_PHASES = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class TrainingPod:
    """A pod of a training.

    Attributes:
        container: name of the container that trains.
        node: its number among the pods that train together, from 0.
        attempt: its number among the attempts, from 1.
        has_log: whether its container has started.
        over: whether the pod has ended.
        why: why it has not started.
    """

    name: str
    container: str
    node: int
    attempt: int
    created: str
    has_log: bool
    over: bool
    why: str


def training_pods(job: Object, pods: Iterable[Object]) -> list[TrainingPod]:
    """The pods of a TrainingJob, the oldest first.

    Pods of an earlier Job, before a suspension, are gone: the attempts are counted back from the last.
    """
    by_node: dict[int, list[Object]] = {}
    for pod in sorted(pods, key=lambda pod: (pod["metadata"]["creationTimestamp"], pod["metadata"]["name"])):
        by_node.setdefault(_node_of(pod), []).append(pod)
    most = max((len(each) for each in by_node.values()), default=0)
    gone = max(0, (_status(job).get("attempts") or 0) - most)
    found = [
        _training_pod(pod, node, gone + number)
        for node, each in by_node.items()
        for number, pod in enumerate(each, start=1)
    ]
    return sorted(found, key=lambda pod: (pod.attempt, pod.node))


def chosen(
    job: Object, pods: Sequence[TrainingPod], *, attempt: int | None, node: int | None
) -> list[TrainingPod]:
    """The pods whose logs are asked for, one a node; the newest where no attempt is named.

    Raises:
        UnknownResourceError: the TrainingJob has no such node.
        ClusterAccessError: no such pod is there; the message says where else to look.
    """
    check_node(job, node)
    found = {
        pod.node: pod
        for pod in pods
        if (attempt is None or pod.attempt == attempt) and (node is None or pod.node == node)
    }
    if not found:
        raise ClusterAccessError(_absent(job, pods, attempt))
    return [found[number] for number in sorted(found)]


def check_node(job: Object, node: int | None) -> None:
    """Refuse a node that the TrainingJob does not have.

    Raises:
        UnknownResourceError: it has not so many.
    """
    count = nodes_of(job)
    if node is not None and not 0 <= node < count:
        has = "one node: --node is 0" if count == 1 else f"{count} nodes: --node is 0 to {count - 1}"
        raise UnknownResourceError(f"TrainingJob {job['metadata']['name']} trains on {has}")


def next_pod(pods: Sequence[TrainingPod], *, node: int, last: TrainingPod | None) -> TrainingPod | None:
    """The pod of a node to follow after ``last``, once it has a log: at first the newest, then one by one.

    One that ended without a start is passed over.
    """
    mine = [pod for pod in pods if pod.node == node]
    if last is None:
        later = mine[-1:]
    else:
        later = [pod for pod in mine if (pod.created, pod.name) > (last.created, last.name)]
    later = [pod for pod in later if pod.has_log or not pod.over]
    return later[0] if later and later[0].has_log else None


def nodes_of(job: Object) -> int:
    """How many pods train together."""
    count: int = job["spec"].get("numNodes") or 1
    return count


def has_ended(job: Object | None) -> bool:
    """Whether a TrainingJob trains no more, or is no more."""
    return job is None or _status(job).get("phase") in ("Registering", *ENDED_PHASES)


def _absent(job: Object, pods: Sequence[TrainingPod], attempt: int | None) -> str:
    name, status, summary = job["metadata"]["name"], _status(job), summary_of(job, "TrainingJob")
    attempts = sorted({pod.attempt for pod in pods})
    if attempts and attempt is not None:
        numbers = ", ".join(map(str, attempts))
        has = f"there is attempt {numbers}" if len(attempts) == 1 else f"there are attempts {numbers}"
        if attempt > attempts[-1]:
            return f"TrainingJob {name} has no attempt {attempt} so far; {has}"
        return f"the pods of attempt {attempt} of TrainingJob {name} are gone; {has}. {_run_told(job)}"
    if summary.phase in ENDED_PHASES:
        ended = f"it has come to its end ({summary.phase})"
        return f"the pods of TrainingJob {name} are gone; {ended}. {_run_told(job)}"
    why = f": {summary.why}" if summary.why else ""
    waits = f"TrainingJob {name} has no pod {'now' if status.get('attempts') else 'yet'}"
    told = f" {_run_told(job)}" if status.get("mlflow") and status.get("attempts") else ""
    return f"{waits} ({summary.phase or 'Pending'}{why}).{told}"


def _run_told(job: Object) -> str:
    run = _status(job).get("mlflow")
    if run is None:
        return "It has no MLflow run: what it printed is lost"
    url = f": {run['url']}" if run.get("url") else ""
    return f"What the training logged is in its MLflow run {run['runID']}{url}"


def _training_pod(pod: Object, node: int, attempt: int) -> TrainingPod:
    metadata, status = pod["metadata"], _status(pod)
    container = pod["spec"]["containers"][0]["name"]
    states = {each["name"]: each.get("state") or {} for each in status.get("containerStatuses") or ()}
    state: dict[str, Any] = states.get(container, {})
    return TrainingPod(
        name=metadata["name"],
        container=container,
        node=node,
        attempt=attempt,
        created=metadata["creationTimestamp"],
        has_log="running" in state or "terminated" in state,
        over=status.get("phase") in ENDED_PHASES,
        why=summary_of(pod, "Pod").why or status.get("phase") or "Pending",
    )


def _node_of(pod: Object) -> int:
    return int((pod["metadata"].get("annotations") or {}).get(COMPLETION_INDEX, 0))


def _status(obj: Object) -> Object:
    return obj.get("status") or {}
