"""From apply to Production with a real API server and a real MLflow; only the training is done by hand."""

import time
from typing import Any

from mlflow import MlflowClient
from mlflow.models.model import Model

from mlinfra.tracking.contract import MODEL_TAG

Object = dict[str, Any]


def training_job(name: str, model: str, **spec: Any) -> Object:
    return {
        "apiVersion": "mlinfra.io/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name},
        "spec": {"modelName": model, "image": "image", "backoffLimit": 0, **spec},
    }


def gated(minimum: float, stage: str = "Production") -> Object:
    return {"promotion": {"stage": stage, "gates": [{"metric": "test_accuracy", "min": minimum}]}}


def train(client: MlflowClient, run_id: str, accuracy: float, *, models: int = 1) -> None:
    """What a training leaves in MLflow."""
    run = client.get_run(run_id)
    for number in range(models):
        logged = client.create_logged_model(
            run.info.experiment_id, name=f"model{number}", source_run_id=run_id
        )
        Model(run_id=run_id, model_id=logged.model_id)
        if number == 0 and models == 1:
            client.set_logged_model_tags(logged.model_id, {MODEL_TAG: "true"})
        client.finalize_logged_model(logged.model_id, "READY")
    client.log_metric(run_id, "test_accuracy", accuracy)
    client.set_terminated(run_id, "FINISHED")


async def complete(world: Any, client: MlflowClient, name: str, accuracy: float, **kwargs: Any) -> str:
    """Train by hand and end the pod; the run's ID."""
    run_id: str = await world.run_id(name)
    await world.run_pod(name)
    train(client, run_id, accuracy, **kwargs)
    await world.end_pod(name)
    return run_id


async def test_a_training_job_comes_to_production(world, operator, mlflow_server) -> None:
    client = MlflowClient(mlflow_server.uri)
    name = model = f"happy-{time.time_ns():x}"
    await world.apply(training_job(name, model, **gated(0.8)))
    applied = time.monotonic()
    job = await world.job(name)
    print("job after", time.monotonic() - applied)
    await world.phase(name, "Pending")
    await world.run_pod(name)
    await world.phase(name, "Running")
    await complete(world, client, name, 0.9)
    done = await world.phase(name, "Succeeded")
    print(done["status"])
    version = await world.version_phase(f"{model}-1", "Production")
    print(version["status"])
    print([(e["type"], e["reason"], e["message"]) for e in await world.events(name)])
    print([(e["type"], e["reason"], e["message"]) for e in await world.events(f"{model}-1")])
    assert client.get_model_version_by_alias(model, "production").version == "1"
    print(operator.log.read_text()[-3000:])
