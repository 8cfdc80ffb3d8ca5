"""A Job of which no pod runs: what holds it up, in words. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from mlinfra.resources import TrainingJob
from mlinfra_operator.trainingjob.observed import ChildJob, PodFacts

NO_POD_PATIENCE_SECONDS = 40.0
"""So long a new Job may have no pod: where a thousand are applied at once, they take half of it."""
LONGEST_BACK_OFF_SECONDS = 600.0
"""So long the Job controller waits at most before it replaces a pod that failed."""
POD_STARTING = "PodStarting"


@dataclass(frozen=True, slots=True)
class HoldUp:
    """Why no pod runs: a CamelCase reason and a message for people."""

    reason: str
    message: str


def hold_up_of(
    job: TrainingJob, child: ChildJob, pods: Sequence[PodFacts], *, waited: float, ran: bool
) -> HoldUp:
    """Why no pod runs, as far as Job and pods tell.

    Args:
        job: the TrainingJob.
        child: its Job, of which no pod is ready.
        pods: those of the Job.
        waited: seconds since a pod was ready, or since the Job is there.
        ran: whether pods of the Job ran before.
    """
    waiting = next((pod.waiting for pod in pods if pod.waiting), None)
    if waiting is not None:
        reason, message = waiting
        return HoldUp(_camel(reason), f"{reason}: {message}" if message else reason)
    if child.active + child.terminating > 0:
        return HoldUp(POD_STARTING, "the training pod starts")
    return _without_pods(job, waited=waited, ran=ran)


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
