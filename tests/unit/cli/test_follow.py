"""What `follow` tells a person about a TrainingJob and its ModelVersion."""

from typing import Any

import pytest

from mlinfra.cli.follow import Outcome, outcome_of, progress_of
from mlinfra.cli.progress import detail_of
from mlinfra.resources import ModelVersion, TrainingJob

SPEC = {"modelName": "m", "command": ["train"], "training": {"epochs": 30}}


def training_job(**status: Any) -> TrainingJob:
    return TrainingJob.model_validate({"metadata": {"name": "m"}, "spec": SPEC, "status": status})


def model_version(*, stage: str | None = "Production", **status: Any) -> ModelVersion:
    return ModelVersion.model_validate(
        {
            "metadata": {"name": "m-1"},
            "spec": {"modelName": "m", "version": "1", "stage": stage},
            "status": status,
        }
    )


def condition(type_: str, reason: str, message: str) -> dict[str, str]:
    return {
        "type": type_,
        "status": "True",
        "reason": reason,
        "message": message,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }


def test_progress_before_the_first_report_counts_the_epochs_asked_for() -> None:
    progress = progress_of(training_job())
    assert (progress.phase, progress.epoch, progress.epochs, progress.percent) == ("Pending", 0, 30, 0)


def test_progress_shows_accuracy_and_time_left() -> None:
    job = training_job(
        phase="Running",
        trainerStatus={
            "currentEpoch": 5,
            "totalEpochs": 20,
            "progressPercentage": 25,
            "estimatedRemainingSeconds": 45,
            "metrics": [{"name": "val_accuracy", "value": "0.8125"}],
        },
    )
    progress = progress_of(job)
    assert (progress.epoch, progress.epochs, progress.percent) == (5, 20, 25)
    assert detail_of(progress) == "validation accuracy 81.2%"


def test_a_pending_job_says_what_it_waits_for() -> None:
    waiting = condition("Reconciling", "MLflowUnavailable", "MLflow does not answer")
    assert "MLflow does not answer" in detail_of(progress_of(training_job(conditions=[waiting])))


@pytest.mark.parametrize(
    ("job", "version", "outcome"),
    [
        pytest.param(training_job(phase="Running"), None, None, id="still-training"),
        pytest.param(training_job(phase="Succeeded"), None, None, id="version-not-yet-seen"),
        pytest.param(training_job(), model_version(), None, id="version-not-yet-observed"),
        pytest.param(
            training_job(conditions=[condition("Failed", "UnknownFeature", "no feature x")]),
            None,
            Outcome(False, "UnknownFeature: no feature x"),
            id="training-failed",
        ),
    ],
)
def test_outcome_without_a_settled_version(
    job: TrainingJob, version: ModelVersion | None, outcome: Outcome | None
) -> None:
    assert outcome_of(job, version) == outcome


def test_a_version_in_its_stage_is_the_end() -> None:
    version = model_version(phase="Production", observedGeneration=1)
    assert outcome_of(training_job(), version) == Outcome(True, "in Production", version)


def test_a_version_without_a_stage_is_done_when_registered() -> None:
    version = model_version(stage=None, phase="Registered", observedGeneration=1)
    outcome = outcome_of(training_job(), version)
    assert outcome is not None
    assert outcome.succeeded


def test_failed_gates_are_a_failure_with_the_measured_values() -> None:
    version = model_version(
        phase="GatesFailed",
        observedGeneration=1,
        conditions=[condition("Stalled", "GatesFailed", "test_accuracy 0.7 is below 0.8")],
    )
    outcome = outcome_of(training_job(), version)
    assert outcome == Outcome(False, "GatesFailed: test_accuracy 0.7 is below 0.8", version)
