"""From `kubectl apply` to Production, and what may happen on the way."""

import os
import signal
import time

from e2e.driver import Platform, condition, eventually, metrics, training_job
from mlflow import MlflowClient

from mlinfra.tracking.contract import TRAINING_JOB_UID_TAG

GATE = {"stage": "Production", "gates": [{"metric": "test_accuracy", "min": 0.5}]}


def test_an_applied_training_reaches_production_and_applying_it_again_changes_nothing(
    platform: Platform,
) -> None:
    manifest = training_job("first", promotion=GATE)
    platform.apply(manifest)
    platform.kubectl("wait", "--for=condition=Complete", "trainingjob/first", "--timeout=180s")
    version = platform.wait_for_phase("first-1", "Production")

    measured = metrics(version)
    assert 0.5 <= measured["test_accuracy"] <= 1
    assert 0 < measured["baseline_test_accuracy"] < 1
    registered = MlflowClient(platform.mlflow_url).get_model_version("first", "1")
    assert registered.current_stage == "Production"
    assert registered.aliases == ["production"]

    before = platform.get("trainingjob", "first")
    assert "unchanged" in platform.apply(manifest)
    assert platform.get("trainingjob", "first") == before


def test_deleted_and_applied_again_it_trains_the_next_version(platform: Platform) -> None:
    manifest = training_job("again", promotion=GATE)
    platform.apply(manifest)
    assert condition(platform.wait_for_end("again"), "Complete")
    platform.wait_for_phase("again-1", "Production")
    platform.kubectl("delete", "trainingjob", "again")
    platform.apply(manifest)
    assert condition(platform.wait_for_end("again"), "Complete")
    platform.wait_for_phase("again-2", "Production")
    platform.wait_for_phase("again-1", "Archived")


def test_operator_killed_in_mid_training_leaves_one_job_one_run_one_version(platform: Platform) -> None:
    platform.apply(training_job("killed", training={"epochs": 20}))

    def training() -> bool | None:
        status = platform.get("trainingjob", "killed").get("status", {})
        return (status.get("trainerStatus", {}).get("currentEpoch") or 0) >= 1 or None

    eventually(training, seconds=90, what="first epoch")
    platform.kill("operator")
    platform.mlinfra("up")
    job = platform.wait_for_end("killed")

    assert condition(job, "Complete")
    assert len(platform.get("jobs", "-l", "mlinfra.io/training-job=killed")["items"]) == 1
    client = MlflowClient(platform.mlflow_url)
    experiment = client.get_experiment_by_name("killed")
    assert experiment is not None
    uid = job["metadata"]["uid"]
    runs = client.search_runs([experiment.experiment_id], f"tags.`{TRAINING_JOB_UID_TAG}` = '{uid}'")
    assert len(runs) == 1
    assert [item.version for item in client.search_model_versions("name='killed'")] == ["1"]


def test_a_training_pod_has_no_permissions_beyond_every_service_accounts(platform: Platform) -> None:
    def allowed(user: str, *groups: str) -> set[tuple[str, ...]]:
        """The rows of the table, whatever the width of its columns."""
        table = platform.kubectl(
            "auth", "can-i", "--list", f"--as={user}", *(f"--as-group={group}" for group in groups)
        )
        return {tuple(row.split()) for row in table.splitlines()}

    anybody = allowed("somebody", "system:authenticated", "system:serviceaccounts")
    assert len(anybody) > 5
    assert allowed("system:serviceaccount:default:default") == anybody
    assert not any("mlinfra.io" in cell or "pods" in cell for row in anybody for cell in row)


def test_a_training_waits_for_mlflow_and_loses_nothing(platform: Platform) -> None:
    platform.kill("mlflow")
    platform.apply(training_job("patient"))

    def waiting() -> bool | None:
        found = condition(platform.get("trainingjob", "patient"), "Reconciling")
        return True if found and found["reason"] == "MLflowUnavailable" else None

    eventually(waiting, seconds=60, what="condition MLflowUnavailable")
    platform.mlinfra("up")
    assert condition(platform.wait_for_end("patient"), "Complete")


def test_failed_gates_keep_a_version_out_of_production(platform: Platform) -> None:
    gates = [{"metric": "test_accuracy", "min": 0.999}]
    platform.apply(training_job("gated", promotion={"stage": "Production", "gates": gates}))
    assert condition(platform.wait_for_end("gated"), "Complete")
    version = platform.wait_for_phase("gated-1", "GatesFailed")
    stalled = condition(version, "Stalled")
    assert stalled
    assert "test_accuracy" in stalled["message"]
    assert MlflowClient(platform.mlflow_url).get_model_version("gated", "1").current_stage == "None"


def test_a_killed_component_is_started_again_and_the_others_are_kept(platform: Platform) -> None:
    before = {name: platform.pid(name) for name in ("etcd", "kube-apiserver", "node", "operator")}
    platform.kill("kube-apiserver")
    started = time.monotonic()
    platform.mlinfra("up")
    assert time.monotonic() - started < 60
    after = {name: platform.pid(name) for name in before}
    assert after.pop("kube-apiserver") != before.pop("kube-apiserver")
    assert after == before


def test_mlflow_keeps_its_port_when_only_its_first_process_dies(platform: Platform) -> None:
    url = platform.mlflow_url
    os.kill(platform.pid("mlflow"), signal.SIGKILL)
    platform.mlinfra("up")
    assert platform.mlflow_url == url
