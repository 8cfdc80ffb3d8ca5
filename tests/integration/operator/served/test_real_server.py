"""The model server itself, in pods: it serves the approved file, switches under load, and refuses another."""

import hashlib
from pathlib import Path
from typing import Any

import httpx
import mlflow
import numpy as np
import onnx
import pytest
from integration.operator.manifests import condition
from integration.operator.served.traffic import Traffic, keep_asking
from integration.operator.served.versions import serving, version
from mlflow import MlflowClient
from servers.mlflow_server import MlflowServer
from servers.model_server import linear_model
from tritonclient.grpc import InferInput
from tritonclient.grpc.aio import InferenceServerClient

from mlinfra.kube.resource import SERVICES
from mlinfra.tracking.contract import SHA256_TAG

Object = dict[str, Any]
QUESTION = {"inputs": [{"name": "features", "shape": [1, 3], "datatype": "FP32", "data": [1.0, 2.0, 3.0]}]}


@pytest.fixture
def log_version(
    mlflow_server: MlflowServer, tracking: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Any:
    """Logs an ONNX model that adds a bias to the sum of its features, and registers it as a version."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_server.uri)

    def log(model: str, *, bias: float, digest: str | None = None) -> None:
        file = linear_model(tmp_path / f"{bias}.onnx", bias=bias)
        experiment = tracking.get_experiment_by_name(model)
        experiment_id = experiment.experiment_id if experiment else tracking.create_experiment(model)
        with mlflow.start_run(experiment_id=experiment_id):
            logged = mlflow.onnx.log_model(onnx.load(file), name="model")
        stored = Path(mlflow.artifacts.download_artifacts(f"models:/{logged.model_id}"))
        found = hashlib.sha256((stored / "model.onnx").read_bytes()).hexdigest()
        tracking.set_logged_model_tags(logged.model_id, {SHA256_TAG: digest or found})
        source = f"models:/{logged.model_id}"
        tracking.create_model_version(model, source, run_id=logged.run_id, model_id=logged.model_id)

    return log


async def infer(client: httpx.AsyncClient, url: str) -> str:
    answer = await client.post(url, json=QUESTION)
    answer.raise_for_status()
    return str(answer.json()["outputs"][0]["data"][0])


async def test_the_server_answers_and_switches_without_a_failed_request(
    world, operator, tracking, unique, eventually, log_version
) -> None:
    tracking.create_registered_model(unique)
    log_version(unique, bias=0.0)
    log_version(unique, bias=1.0)
    first, second = f"{unique}-1", f"{unique}-2"
    await version(world, first, unique, "1", stage="Production", serving={"rollbackWindowSeconds": 0})
    endpoint = (await serving(world, eventually, first, "True"))["status"]["endpoint"]
    url, seen = f"{endpoint}/v2/models/{unique}/infer", Traffic()
    async with keep_asking(lambda client: infer(client, url), seen):
        await eventually(lambda: seen.told("6.0"), "answers of version 1")
        await version(world, second, unique, "2", stage="Production", serving={})
        await serving(world, eventually, second, "True")
        await eventually(lambda: seen.told("7.0"), "answers of version 2")
        await serving(world, eventually, first, "False", "NotInStage")
        seen.answers.clear()
        await eventually(lambda: seen.told("7.0"), "answers of version 2 alone")
    assert seen.failures == []


async def test_grpc_is_answered_at_a_port_of_the_service_while_the_version_asks_for_it(
    world, operator, tracking, unique, eventually, log_version
) -> None:
    tracking.create_registered_model(unique)
    log_version(unique, bias=1.0)
    name = f"{unique}-1"
    await version(world, name, unique, "1", stage="Production", serving={"grpc": True})
    await serving(world, eventually, name, "True")
    service = await world.kube.get(SERVICES, unique, world.namespace)
    ports = {port["name"]: port for port in service["spec"]["ports"]}
    assert (ports["grpc"]["port"], ports["grpc"]["appProtocol"]) == (8081, "kubernetes.io/h2c")
    async with InferenceServerClient(f"{service['spec']['clusterIP']}:8081") as client:
        given = InferInput("features", [1, 3], "FP32")
        given.set_data_from_numpy(np.array([[1.0, 2.0, 3.0]], np.float32))
        answer = await client.infer(unique, [given])
        (only,) = (answer.as_numpy(each.name) for each in answer.get_response().outputs)
        assert only.tolist() == [[7.0]]
    await version(world, name, unique, "1", stage="Production", serving={"grpc": False})

    async def http_alone() -> bool:
        found = await world.kube.get(SERVICES, unique, world.namespace)
        return [port["name"] for port in found["spec"]["ports"]] == ["http"]

    await eventually(http_alone, "the Service without gRPC")


async def test_another_file_than_the_approved_one_is_not_served(
    world, operator, tracking, unique, eventually, log_version
) -> None:
    tracking.create_registered_model(unique)
    log_version(unique, bias=0.0, digest="0" * 64)
    await version(world, f"{unique}-1", unique, "1", stage="Production", serving={})
    refused = await serving(world, eventually, f"{unique}-1", "False", "UnusableModel")
    assert "0" * 64 in condition(refused, "Serving")["message"]
    assert "endpoint" not in refused["status"]
