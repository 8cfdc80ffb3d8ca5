"""Why a training failed: the reason and message that a person can act on. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from mlinfra.resources.names import EXIT_INVALID_INPUT
from mlinfra_operator.termination import REASON, told_at_the_end
from mlinfra_operator.trainingjob.observed import ChildJob, PodFacts, Termination

ORDINARY_ENDS = ("Error", "Completed")
FOREIGN_EXPERIMENT = re.compile(r"Cannot start run with ID \S+ because active experiment ID does not match")
"""MLflow's words where a script chose an experiment other than its run's."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a TrainingJob failed: a CamelCase reason and a message for people."""

    reason: str
    message: str


def failure_of(child: ChildJob, pods: Sequence[PodFacts]) -> Failure:
    """Why a Job failed: what its last failed pod said, else what the Job says.

    Raises:
        ValueError: the Job has not failed.
    """
    if child.failure is None:
        raise ValueError(f"Job {child.uid} has not failed")
    reason, message = child.failure
    last = _last_failed(pods)
    if last is None:
        return Failure(reason, message or "the Job failed; its pods are gone")
    told = told_at_the_end(last.message)
    if told is not None:
        return Failure(*told)
    if reason == "DeadlineExceeded":
        return Failure(reason, f"the training was stopped at its deadline (activeDeadlineSeconds); {message}")
    if FOREIGN_EXPERIMENT.search(last.message):
        return Failure(
            "ForeignExperiment",
            "the script chose an MLflow experiment other than its TrainingJob's, which is in "
            "MLFLOW_EXPERIMENT_NAME: take mlflow.set_experiment out, or make it spec.modelName",
        )
    end = f"exit code {last.exit_code}" + (f": {last.message.strip()}" if last.message.strip() else "")
    if last.reason not in ORDINARY_ENDS and REASON.fullmatch(last.reason):
        return Failure(last.reason, end)
    if last.exit_code == EXIT_INVALID_INPUT:
        return Failure("InvalidInput", f"the training refused its input with {end}")
    attempts = f"{child.failed} attempts failed" if child.failed != 1 else "the only attempt failed"
    return Failure(
        reason, f"{attempts}; the last with {end}" if child.failed != 1 else f"{attempts} with {end}"
    )


def _last_failed(pods: Sequence[PodFacts]) -> Termination | None:
    ends = [pod.termination for pod in pods if pod.termination and pod.termination.exit_code != 0]
    return max(ends, key=lambda end: end.finished_at, default=None)
