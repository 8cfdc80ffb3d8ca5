"""A training of several pods, and ones that are stopped in their middle: real pods, real checkpoints."""

import json

import pytest
from e2e.driver import Object, Platform, condition, eventually, metrics, training_job
from mlflow import MlflowClient
from mlflow.entities import Run

from mlinfra.resources.names import RETRAINING_POLICY_LABEL, TRAINING_JOB_LABEL

PLAIN = {"architecture": "mlp", "parameters": {"dropout": 0.0}}
COMPARED = ("train_loss", "val_loss", "test_log_loss")
TOLERANCE = 1e-4
"""Of metrics that a status has with six digits."""
SELDOM = 1000
"""Epochs between two checkpoints: more than there are, so a pod writes one only when it is stopped."""


def train(platform: Platform, name: str, **spec: object) -> Object:
    """The ModelVersion that a TrainingJob comes to."""
    platform.apply(training_job(name, model=PLAIN, promotion={"stage": "Production"}, **spec))
    job = platform.wait_for_end(name)
    assert condition(job, "Complete"), job["status"]["conditions"]
    return platform.wait_for_phase(f"{name}-1", "Production")


def long_training(platform: Platform, name: str, *, every_epochs: int, epochs: int = 400) -> Object:
    """A training that is under way for long enough to be stopped."""
    checkpoint = {"storageUri": str(platform.state / "checkpoints"), "everyEpochs": every_epochs}
    return training_job(name, model=PLAIN, training={"epochs": epochs}, checkpoint=checkpoint)


def epoch(platform: Platform, name: str) -> int:
    trainer = platform.get("trainingjob", name).get("status", {}).get("trainerStatus", {})
    return int(trainer.get("currentEpoch") or 0)


def in_the_middle(platform: Platform, name: str) -> None:
    eventually(lambda: epoch(platform, name) >= 3 or None, seconds=120, what=f"third epoch of {name}")


def runs_of(platform: Platform, model: str) -> list[Run]:
    client = MlflowClient(platform.mlflow_url)
    experiment = client.get_experiment_by_name(model)
    assert experiment is not None
    return list(client.search_runs([experiment.experiment_id]))


@pytest.mark.timeout(600)
def test_two_pods_train_what_one_trains(platform: Platform) -> None:
    alone, together = train(platform, "one-pod"), train(platform, "two-pods", numNodes=2)
    pods = platform.get("pods", "-l", f"{TRAINING_JOB_LABEL}=two-pods")["items"]
    assert sorted(pod["spec"]["hostname"] for pod in pods) == ["two-pods-0", "two-pods-1"]
    assert {pod["status"]["phase"] for pod in pods} == {"Succeeded"}
    assert platform.get("trainingjob", "two-pods")["status"]["attempts"] == 1
    for name in COMPARED:
        assert metrics(together)[name] == pytest.approx(metrics(alone)[name], abs=TOLERANCE)
    (run,) = runs_of(platform, "two-pods")
    assert run.info.status == "FINISHED"
    assert len(MlflowClient(platform.mlflow_url).search_model_versions("name='two-pods'")) == 1


def test_a_suspended_training_goes_on_where_it_was(platform: Platform) -> None:
    platform.apply(long_training(platform, "paused", every_epochs=1))
    in_the_middle(platform, "paused")
    platform.mlinfra_in_cluster("suspend", "paused")

    def suspended() -> bool | None:
        job = platform.get("trainingjob", "paused")
        return True if condition(job, "Suspended") else None

    eventually(suspended, seconds=60, what="condition Suspended")
    assert platform.get("jobs", "-l", f"{TRAINING_JOB_LABEL}=paused")["items"] == []
    before = epoch(platform, "paused")
    platform.mlinfra_in_cluster("resume", "trainingjob/paused")

    def goes_on() -> bool | None:
        attempts = platform.get("trainingjob", "paused")["status"]["attempts"]
        return (attempts == 2 and epoch(platform, "paused") > before) or None

    eventually(goes_on, seconds=90, what="epoch of the second attempt")
    log = platform.kubectl("logs", "job/paused")
    assert "goes on from checkpoint" in log
    assert "epoch 1/400" not in log
    platform.kubectl("delete", "trainingjob", "paused")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("nodes", [1, 2])
def test_an_evicted_training_goes_on_from_its_checkpoint_to_one_run_and_one_version(
    nodes: int, platform: Platform
) -> None:
    training = f"evicted-{nodes}"
    manifest = long_training(platform, training, every_epochs=SELDOM, epochs=60)
    manifest["spec"]["numNodes"] = nodes
    platform.apply(manifest)
    in_the_middle(platform, training)
    pods = platform.get("pods", "-l", f"{TRAINING_JOB_LABEL}={training}")["items"]
    name = max(pod["metadata"]["name"] for pod in pods)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    address = f"/api/v1/namespaces/default/pods/{name}/eviction"
    platform.kubectl("create", "--raw", address, "-f", "-", stdin=json.dumps(eviction))
    job = platform.wait_for_end(training)
    assert condition(job, "Complete"), job["status"]["conditions"]
    assert job["status"]["attempts"] == 2
    # It may not fail once: neither is an eviction a failure, nor that the other pods stop along with it.
    assert job["spec"]["backoffLimit"] == 0
    (child,) = platform.get("jobs", "-l", f"{TRAINING_JOB_LABEL}={training}")["items"]
    assert child["status"].get("failed", 0) == 0
    (run,) = runs_of(platform, training)
    assert run.info.status == "FINISHED"
    client = MlflowClient(platform.mlflow_url)
    epochs = [point.step for point in client.get_metric_history(run.info.run_id, "val_loss")]
    assert sorted(set(epochs)) == list(range(1, 61))
    assert [version.run_id for version in client.search_model_versions(f"name='{training}'")] == [
        run.info.run_id
    ]


@pytest.mark.timeout(600)
def test_what_is_replaced_or_deleted_leaves_a_checkpoint(platform: Platform) -> None:
    template = long_training(platform, "replaced", every_epochs=SELDOM)["spec"]
    policy = {
        "apiVersion": "mlinfra.io/v1alpha1",
        "kind": "RetrainingPolicy",
        "metadata": {"name": "replacing"},
        "spec": {
            "modelName": "replaced",
            "concurrencyPolicy": "Replace",
            "trainingJobTemplate": {"spec": template},
        },
    }
    platform.apply(policy)

    def only_training(*, but: str | None = None) -> str:
        def other() -> str | None:
            found = platform.get("trainingjobs", "-l", f"{RETRAINING_POLICY_LABEL}=replacing")["items"]
            assert len(found) <= 1
            return next((each["metadata"]["name"] for each in found if each["metadata"]["name"] != but), None)

        return eventually(other, seconds=30, what=f"TrainingJob other than {but}")

    platform.mlinfra_in_cluster("retrain", "replacing")
    first = only_training()
    in_the_middle(platform, first)
    run = running(platform, "replaced")
    platform.mlinfra_in_cluster("retrain", "replacing")
    second = only_training(but=first)
    ends_with_a_checkpoint(platform, run, "replaced")
    in_the_middle(platform, second)
    run = running(platform, "replaced")
    platform.kubectl("delete", "trainingjob", second)
    ends_with_a_checkpoint(platform, run, "replaced")
    platform.kubectl("delete", "retrainingpolicy", "replacing")
    assert len(runs_of(platform, "replaced")) == 2


def running(platform: Platform, model: str) -> Run:
    (run,) = (run for run in runs_of(platform, model) if run.info.status == "RUNNING")
    return run


def ends_with_a_checkpoint(platform: Platform, run: Run, model: str) -> None:
    folder = platform.state / "checkpoints" / model / run.info.run_id

    def ended() -> bool | None:
        status = MlflowClient(platform.mlflow_url).get_run(run.info.run_id).info.status
        return (status == "KILLED" and any(folder.glob("*.safetensors"))) or None

    eventually(ended, seconds=60, what=f"end of run {run.info.run_id}, and its checkpoint in {folder}")
