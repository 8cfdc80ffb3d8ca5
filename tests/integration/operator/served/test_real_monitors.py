"""A policy asks the real model server in its pod what became of real traffic, and trains on what it says."""

import json
from datetime import datetime
from pathlib import Path

import httpx
import onnx
import pandas as pd
import pytest
from integration.operator.manifests import condition, retraining_policy
from integration.operator.policy_status import healthy, lineage, trainings
from integration.operator.served.versions import serving, version
from integration.serving.adder_traffic import FEATURES, ROWS, adder_profile, infer_at, label_at, normal
from servers.model_server import learnt_metadata, linear_model

from mlinfra.features import FeatureStore
from mlinfra.monitoring.profile import PROFILE_FILE
from mlinfra.tracking.tracker import MlflowTracker

NEWEST = {"window": {"rows": ROWS}, "breachedWindows": 1, "ofWindows": 1}
DRIFT = {"threshold": 0.3, **NEWEST}
PERFORMANCE = {"metric": "mae", "threshold": 0.5, **NEWEST}


def log_adder(uri: str, model: str, folder: Path, profile: bytes | None = None) -> None:
    """Version 1 of a model that adds two features, with its reference profile, as training logs it."""
    file = linear_model(folder / "adder.onnx", features=2, window=1, metadata=learnt_metadata(FEATURES))
    beside = {PROFILE_FILE: profile or adder_profile().to_json()}
    with MlflowTracker(uri, experiment_name=model) as tracker:
        tracker.start_run()
        tracker.register_model(tracker.log_model(onnx.load(file), "model", beside=beside), model)


async def test_drift_and_loss_in_real_traffic_train_with_the_servers_scores_as_evidence(
    world, operator, mlflow_server, unique, eventually, tmp_path
) -> None:
    log_adder(mlflow_server.uri, unique, tmp_path)
    kept = {"name": "MLINFRA_PREDICTION_LOG_URI", "value": str(tmp_path / "log")}
    await version(world, f"{unique}-1", unique, "1", stage="Production", serving={"env": [kept]})
    endpoint = (await serving(world, eventually, f"{unique}-1", "True"))["status"]["endpoint"]
    url = f"{endpoint}/v2/models/{unique}"
    label_at(url, "usual", infer_at(url, normal(ROWS, 3), id="usual"), off=0.1)
    policy = retraining_policy(
        unique, drift=DRIFT, performance=PERFORMANCE, monitoring={"intervalSeconds": 1}
    )
    policy["spec"]["trainingJobTemplate"]["spec"]["suspend"] = True
    await world.apply(policy)
    found = await healthy(world, eventually, unique, "Healthy")
    assert [each["outcome"] for each in found["status"]["monitors"]] == ["ok", "ok"]
    assert await trainings(world, unique) == []

    label_at(url, "far", infer_at(url, normal(ROWS, 4, mean=3.0), id="far", hour=1), off=2.0)
    found = await healthy(world, eventually, unique, "RetrainingNeeded")
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(f"{url}/monitoring", json={"drift": DRIFT, "performance": PERFORMANCE})
    said = answer.json()
    results = {name: said[name]["result"] for name in ("drift", "performance")}
    told = {each["trigger"]: each for each in found["status"]["monitors"]}
    for name, result in results.items():
        assert told[name]["outcome"] == result["outcome"] == "breached"
        assert float(told[name]["score"]) == pytest.approx(result["score"], rel=1e-5)
        assert told[name]["modelVersion"] == "1"
        assert datetime.fromisoformat(told[name]["windowEnd"]) == datetime.fromisoformat(result["windowEnd"])
    assert {each["name"] for each in told["drift"]["features"]} == set(FEATURES)
    assert condition(found, "ModelHealthy")["status"] == "False"

    why = await lineage(world, eventually, unique)
    evidence = {each["trigger"]: each for each in why["evidence"]}
    assert {name: float(each["score"]) for name, each in evidence.items()} == {
        name: pytest.approx(result["score"], rel=1e-5) for name, result in results.items()
    }


async def test_a_profile_of_another_schema_version_is_told_by_the_policy_and_trains_nothing(
    world, operator, mlflow_server, unique, eventually, tmp_path
) -> None:
    profile = json.loads(adder_profile().to_json()) | {"schemaVersion": 99}
    log_adder(mlflow_server.uri, unique, tmp_path, json.dumps(profile).encode())
    await version(world, f"{unique}-1", unique, "1", stage="Production", serving={})
    await serving(world, eventually, f"{unique}-1", "True")
    watched = retraining_policy(
        unique, drift=DRIFT, performance=PERFORMANCE, monitoring={"intervalSeconds": 1}
    )
    await world.apply(watched)
    found = await healthy(world, eventually, unique, "CheckFailed")
    told = condition(found, "ModelHealthy")
    assert told["status"] == "Unknown"
    assert "version 1 of" in told["message"]
    assert "the reference profile has the schema version 99, and 1 is read" in told["message"]
    assert "train the model again with this version of mlinfra" in told["message"]
    assert [each["outcome"] for each in found["status"]["monitors"]] == ["error", "error"]
    assert await trainings(world, unique) == []


async def test_rows_of_a_feature_group_are_checked_by_the_server_and_train(
    world, operator, mlflow_server, unique, eventually, tmp_path
) -> None:
    log_adder(mlflow_server.uri, unique, tmp_path)
    store = FeatureStore(tmp_path / "store")
    told = {"name": "MLINFRA_FEATURE_STORE_URI", "value": str(store.root)}
    await version(world, f"{unique}-1", unique, "1", stage="Production", serving={"env": [told]})
    await serving(world, eventually, f"{unique}-1", "True")
    source = {"intervalSeconds": 1, "featureGroup": {"name": "batches"}}
    policy = retraining_policy(unique, drift=DRIFT, performance=PERFORMANCE, monitoring=source)
    policy["spec"]["trainingJobTemplate"]["spec"]["suspend"] = True
    await world.apply(policy)
    failed = await healthy(world, eventually, unique, "CheckFailed")
    assert "batches" in condition(failed, "ModelHealthy")["message"]
    assert await trainings(world, unique) == []
    rows = normal(ROWS, 4, mean=3.0)
    frame = pd.DataFrame(rows, columns=FEATURES).assign(entity="a", next=rows.sum(axis=1) + 2.0)
    frame["event_timestamp"] = pd.date_range("2026-01-05", periods=ROWS, freq="min", tz="UTC")
    store.write_offline_features("batches", frame, entity_column="entity")
    found = await healthy(world, eventually, unique, "RetrainingNeeded")
    monitors = {each["trigger"]: each for each in found["status"]["monitors"]}
    assert {each["outcome"] for each in monitors.values()} == {"breached"}
    assert float(monitors["performance"]["score"]) == pytest.approx(2.0, abs=1e-4)
    assert datetime.fromisoformat(monitors["drift"]["windowStart"]) == frame["event_timestamp"][0]
    assert len((await lineage(world, eventually, unique))["evidence"]) == 2
