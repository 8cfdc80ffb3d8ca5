"""Progress from MLflow runs: by the trainer's tag, or by what an own script logs."""

import json
from typing import Any

import pytest
from unit.operator.objects import run, training_job

from mlinfra.tracking.contract import ATTEMPT_TAG, PROGRESS_TAG
from mlinfra_operator.trainingjob.progress import attempt_of, final_status, trainer_status

SPEC = training_job().spec
WITH_EPOCHS = training_job(training={"epochs": 20}).spec
TAG = {
    "attempt": 2,
    "currentEpoch": 3,
    "totalEpochs": 10,
    "progressPercentage": 30,
    "estimatedRemainingSeconds": 7,
    "metrics": {"val_accuracy": 0.5},
    "lastUpdatedTime": "2026-01-01T00:00:00Z",
}


def tagged(attempt: str | None = "2", **changed: Any) -> dict[str, str]:
    tags = {PROGRESS_TAG: json.dumps(TAG | changed)}
    return tags if attempt is None else tags | {ATTEMPT_TAG: attempt}


def test_the_trainers_tag_tells_all() -> None:
    status = trainer_status(run(tags=tagged()), SPEC)
    assert status is not None
    assert status.to_wire() == {
        "progressPercentage": 30,
        "estimatedRemainingSeconds": 7,
        "currentEpoch": 3,
        "totalEpochs": 10,
        "metrics": [{"name": "val_accuracy", "value": "0.5"}],
        "lastUpdatedTime": "2026-01-01T00:00:00Z",
    }


def test_what_a_newer_trainer_adds_is_ignored() -> None:
    assert trainer_status(run(tags=tagged(novelty=1)), SPEC) is not None


@pytest.mark.parametrize(
    "tags",
    [
        {PROGRESS_TAG: "not JSON"},
        {PROGRESS_TAG: "[]"},
        tagged(currentEpoch=-1),
        tagged(totalEpochs=0),
        tagged(progressPercentage=101),
        tagged(lastUpdatedTime="yesterday"),
        tagged(attempt="3"),  # of an attempt before the one that writes now
    ],
)
def test_a_tag_that_breaks_the_contract_or_is_out_of_date_tells_nothing(tags: dict[str, str]) -> None:
    assert trainer_status(run(tags=tags), SPEC) is None


@pytest.mark.parametrize("attempt", [None, "1", "2", "nonsense"])
def test_a_tag_of_the_current_attempt_counts(attempt: str | None) -> None:
    assert trainer_status(run(tags=tagged(attempt)), SPEC) is not None


@pytest.mark.parametrize(
    ("metrics", "params", "spec", "done"),
    [
        ({"loss": 0.1}, {}, SPEC, (None, None, None)),
        ({"epoch": 5.0}, {}, SPEC, (5, None, None)),
        ({"epoch": 5.0}, {"epochs": "10"}, SPEC, (5, 10, 50)),
        ({"epoch": 5.0}, {"max_epochs": "20"}, SPEC, (5, 20, 25)),
        ({"epoch": 2.0}, {"num_train_epochs": "3"}, SPEC, (2, 3, 66)),
        ({"epoch": 5.0}, {"epochs": "many", "max_epochs": "20"}, SPEC, (5, 20, 25)),
        ({"epoch": 5.0}, {"epochs": "0"}, SPEC, (5, None, None)),
        ({"epoch": 5.0}, {}, WITH_EPOCHS, (5, 20, 25)),
        ({"epoch": 30.0}, {"epochs": "10"}, SPEC, (30, 10, 100)),
        ({"epoch": -1.0}, {"epochs": "10"}, SPEC, (None, None, None)),
        ({"epoch": float("nan")}, {"epochs": "10"}, SPEC, (None, None, None)),
        ({"epoch": float("inf")}, {"epochs": "10"}, SPEC, (None, None, None)),
    ],
)
def test_an_own_script_is_followed_by_its_epoch_metric(
    metrics: dict[str, float],
    params: dict[str, str],
    spec: Any,
    done: tuple[int | None, int | None, int | None],
) -> None:
    status = trainer_status(run(metrics=metrics, params=params), spec)
    assert status is not None
    assert (status.current_epoch, status.total_epochs, status.progress_percentage) == done
    assert [metric.name for metric in status.metrics] == list(metrics)


def test_nothing_logged_is_no_progress() -> None:
    assert trainer_status(run(), SPEC) is None
    assert final_status(run(), SPEC) is None


def test_a_complete_training_is_at_100_percent_with_all_final_metrics() -> None:
    status = final_status(run(tags=tagged(), metrics={"test_accuracy": 0.9, "val_accuracy": 0.4}), SPEC)
    assert status is not None
    assert (status.progress_percentage, status.estimated_remaining_seconds) == (100, 0)
    assert {metric.name: metric.value for metric in status.metrics} == {
        "test_accuracy": "0.9",
        "val_accuracy": "0.5",
    }


@pytest.mark.parametrize(
    ("tags", "attempt"), [({}, 0), ({ATTEMPT_TAG: "3"}, 3), ({ATTEMPT_TAG: "-1"}, 0), ({ATTEMPT_TAG: "x"}, 0)]
)
def test_the_attempt_is_a_tag_of_the_run(tags: dict[str, str], attempt: int) -> None:
    assert attempt_of(run(tags=tags)) == attempt


def test_without_a_run_there_was_no_attempt() -> None:
    assert attempt_of(None) == 0
