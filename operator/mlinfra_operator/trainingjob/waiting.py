"""A Job of which no pod runs: what holds it up, in words. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from mlinfra.resources import TrainingJob
from mlinfra_operator.trainingjob.observed import ChildJob, PodFacts

NO_POD_PATIENCE_SECONDS = 40.0
"""So long a new Job may have no pod: where a thousand are applied at once, they take half of it."""
LONGEST_BACK_OFF_SECONDS = 600.0
"""So long the Job controller waits at most before it replaces a pod that failed."""
OVERDUE_SECONDS = 10.0
"""So long a pod may still be there after its grace period."""
POD_STARTING, POD_TERMINATING = "PodStarting", "PodTerminating"
ENDED_PHASES = ("Succeeded", "Failed")
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute"


@dataclass(frozen=True, slots=True)
class HoldUp:
    """Why no pod runs: a CamelCase reason and a message for people."""

    reason: str
    message: str


def is_waiting(child: ChildJob) -> bool:
    """Whether a Job is without pods that it may have, or has pods that have to end."""
    return child.deleting or (not child.held and (child.ready == 0 or child.terminating > 0))


def hold_up_of(
    job: TrainingJob,
    child: ChildJob,
    pods: Sequence[PodFacts],
    *,
    now: datetime,
    waited: float,
    ran: bool,
) -> HoldUp:
    """Why no pod runs, as far as Job and pods tell.

    Args:
        job: the TrainingJob.
        child: its Job, of which no pod is ready.
        pods: those of the Job.
        now: the time of the observation.
        waited: seconds since a pod was ready, or since the Job is there.
        ran: whether pods of the Job ran before.
    """
    overdue = overdue_of(pods, now)
    if overdue is not None:
        return overdue
    waiting = next((pod.waiting for pod in pods if pod.waiting), None)
    if waiting is not None:
        reason, message = waiting
        return HoldUp(_camel(reason), f"{reason}: {message}" if message else reason)
    silent = next((pod for pod in pods if pod.phase == "Running" and pod.termination is None), None)
    if silent is not None and silent.ends_by is None:
        told = f"pod {silent.name} runs and is not ready"
        if silent.node is not None:
            told += f"; whether its node answers: kubectl describe node {silent.node}"
        return HoldUp("PodNotReady", told)
    if child.active > 0:
        return HoldUp(POD_STARTING, "the training pod starts")
    if child.terminating > 0:
        return HoldUp(POD_STARTING, "the next training pod starts when the one before has ended")
    return _without_pods(job, waited=waited, ran=ran)


def overdue_of(pods: Sequence[PodFacts], now: datetime) -> HoldUp | None:
    """A pod that should have ended by now, and in whose place none is started before it has: two pods must
    not write to one run. Where a node is lost, none but a person can say that its pods run no more."""
    for pod in pods:
        if pod.ends_by is None or pod.phase in ENDED_PHASES:
            continue
        if (now - datetime.fromisoformat(pod.ends_by)).total_seconds() < OVERDUE_SECONDS:
            continue
        told = f"pod {pod.name} had to end by {pod.ends_by} and has not, and nothing goes on before it has"
        if pod.node is not None:
            told += (
                f"; if its node {pod.node} is lost: kubectl delete node {pod.node}, or once it is off: "
                f"kubectl taint node {pod.node} {OUT_OF_SERVICE}"
            )
        return HoldUp(POD_TERMINATING, told)
    return None


def _without_pods(job: TrainingJob, *, waited: float, ran: bool) -> HoldUp:
    """The Job controller tells only by Events of the Job why it creates no pod."""
    if not ran and waited < NO_POD_PATIENCE_SECONDS:
        return HoldUp(POD_STARTING, "the training pod starts")
    if ran and waited < LONGEST_BACK_OFF_SECONDS + NO_POD_PATIENCE_SECONDS:
        return HoldUp(POD_STARTING, "the next training pod starts after a back-off of up to ten minutes")
    name, namespace = job.metadata.name, job.metadata.namespace
    return HoldUp(
        "PodsNotCreated",
        f"no pod of Job {name} is created; its Events say why: kubectl describe job {name} -n {namespace}. "
        "Often a PriorityClass, RuntimeClass or ServiceAccount that does not exist, a ResourceQuota, a "
        "LimitRange or Pod Security. Tried again until a pod is there",
    )


def _camel(reason: str) -> str:
    """A pod's reason where a condition can hold it."""
    return reason if reason.isalnum() and reason[0].isalpha() else "PodWaiting"
