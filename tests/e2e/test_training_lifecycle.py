"""A training of several pods, and one that is suspended in its middle: real pods, real checkpoints."""

from pathlib import Path

import pytest
from e2e.driver import Object, Platform, condition, eventually, metrics, training_job

from mlinfra.resources.names import TRAINING_JOB_LABEL

PLAIN = {"architecture": "mlp", "parameters": {"dropout": 0.0}}
COMPARED = ("train_loss", "val_loss", "test_log_loss")
TOLERANCE = 1e-4
"""Of metrics that a status has with six digits."""


def train(platform: Platform, name: str, **spec: object) -> Object:
    """The ModelVersion that a TrainingJob comes to."""
    platform.apply(training_job(name, model=PLAIN, promotion={"stage": "Production"}, **spec))
    job = platform.wait_for_end(name)
    assert condition(job, "Complete"), job["status"]["conditions"]
    return platform.wait_for_phase(f"{name}-1", "Production")


@pytest.mark.timeout(600)
def test_two_pods_train_what_one_trains(platform: Platform) -> None:
    alone, together = train(platform, "one-pod"), train(platform, "two-pods", numNodes=2)
    pods = platform.get("pods", "-l", f"{TRAINING_JOB_LABEL}=two-pods")["items"]
    assert sorted(pod["spec"]["hostname"] for pod in pods) == ["two-pods-0", "two-pods-1"]
    assert {pod["status"]["phase"] for pod in pods} == {"Succeeded"}
    assert platform.get("trainingjob", "two-pods")["status"]["attempts"] == 1
    for name in COMPARED:
        assert metrics(together)[name] == pytest.approx(metrics(alone)[name], abs=TOLERANCE)


def test_a_suspended_training_goes_on_where_it_was(platform: Platform) -> None:
    checkpoints = Path(platform.state, "checkpoints")
    platform.apply(
        training_job(
            "paused",
            model=PLAIN,
            training={"epochs": 400},
            checkpoint={"storageUri": str(checkpoints), "everyEpochs": 1},
        )
    )

    def epoch() -> int:
        trainer = platform.get("trainingjob", "paused").get("status", {}).get("trainerStatus", {})
        return int(trainer.get("currentEpoch") or 0)

    eventually(lambda: epoch() >= 3 or None, seconds=90, what="third epoch")
    platform.mlinfra_in_cluster("suspend", "paused")

    def suspended() -> bool | None:
        job = platform.get("trainingjob", "paused")
        return True if condition(job, "Suspended") else None

    eventually(suspended, seconds=60, what="condition Suspended")
    assert platform.get("jobs", "-l", f"{TRAINING_JOB_LABEL}=paused")["items"] == []
    before = epoch()
    platform.mlinfra_in_cluster("resume", "trainingjob/paused")

    def goes_on() -> bool | None:
        attempts = platform.get("trainingjob", "paused")["status"]["attempts"]
        return (attempts == 2 and epoch() > before) or None

    eventually(goes_on, seconds=90, what="epoch of the second attempt")
    log = platform.kubectl("logs", "job/paused")
    assert "goes on from checkpoint" in log
    assert "epoch 1/400" not in log
    platform.kubectl("delete", "trainingjob", "paused")
