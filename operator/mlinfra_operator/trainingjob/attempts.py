"""How often a training started. Pure."""

import math

from mlinfra.resources import TrainingJob
from mlinfra.resources.training_job_status import Phase
from mlinfra_operator import conditions
from mlinfra_operator.tracking import Run
from mlinfra_operator.trainingjob.observed import ChildJob
from mlinfra_operator.trainingjob.progress import attempt_of

WAITING_PHASES = ("Suspended", "Queued", "Pending")
PEER_TERMINATING = "PeerTerminating"
TRAINING_REASONS = ("Training", "ProgressUnknown", PEER_TERMINATING)
"""Of a training whose pods run."""


def attempts_of(job: TrainingJob, child: ChildJob | None, run: Run | None, phase: Phase) -> int | None:
    """Attempts so far, where any is known of.

    Args:
        job: the TrainingJob with the status of the time before.
        child: its own Job.
        run: its MLflow run.
        phase: that it is in now.
    """
    old = job.status
    if child is None:
        return old.attempts
    # Each attempt starts a pod a node.
    started = math.ceil(child.started / job.spec.num_nodes)
    told, tagged = old.attempts or 0, attempt_of(run)
    waits = phase in WAITING_PHASES or (phase == "Running" and child.ready == 0)
    if waits or child.deleting or tagged > 0:
        return max(told, started, tagged)
    # A Job counts neither the pods of the one before it, nor those that had to make room; nor does an
    # own script. What waited since the last attempt begins the next.
    waited = old.phase in WAITING_PHASES or (
        phase == "Running" and conditions.reason_of(old.conditions, "Reconciling") not in TRAINING_REASONS
    )
    return max(told + 1 if told and waited else told, started)
