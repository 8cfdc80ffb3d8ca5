"""Resources as the tests apply them, what their status says, and versions in MLflow."""

from typing import Any

from mlflow import MlflowClient

Object = dict[str, Any]

IMAGE_DIGEST = f"sha256:{'0a' * 32}"
"""Of the image that every pod runs, as the hand in place of the kubelet reports it."""


def training_job(name: str, model: str | None = None, **spec: Any) -> Object:
    return {
        "apiVersion": "mlinfra.io/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": name},
        "spec": {"modelName": model or name, "image": "image", "backoffLimit": 0, **spec},
    }


def gated(minimum: float, stage: str = "Production") -> Object:
    return {"promotion": {"stage": stage, "gates": [{"metric": "test_accuracy", "min": minimum}]}}


def condition(obj: Object, type_: str) -> Object:
    found = [item for item in obj["status"]["conditions"] if item["type"] == type_]
    assert len(found) == 1, obj["status"]["conditions"]
    only: Object = found[0]
    return only


def model_version(name: str, model: str, **spec: Any) -> Object:
    return {
        "apiVersion": "mlinfra.io/v1alpha1",
        "kind": "ModelVersion",
        "metadata": {"name": name},
        "spec": {"modelName": model, "version": "1", **spec},
    }


def register(tracking: MlflowClient, model: str, *, versions: int = 1) -> None:
    """The first versions of a model, as a user without Kubernetes registers them."""
    experiment = tracking.create_experiment(model)
    run = tracking.create_run(experiment)
    logged = tracking.create_logged_model(experiment, source_run_id=run.info.run_id)
    tracking.finalize_logged_model(logged.model_id, "READY")
    tracking.create_registered_model(model)
    source = f"models:/{logged.model_id}"
    for _ in range(versions):
        tracking.create_model_version(
            model, source, run_id=run.info.run_id, model_id=logged.model_id, await_creation_for=0
        )


def retraining_policy(name: str, **spec: Any) -> Object:
    template = training_job(name, **gated(0.8))["spec"]
    return {
        "apiVersion": "mlinfra.io/v1alpha1",
        "kind": "RetrainingPolicy",
        "metadata": {"name": name},
        "spec": {"modelName": name, "trainingJobTemplate": {"spec": template}, **spec},
    }


def watched_policy(
    name: str, prometheus: str, *, drift: str, accuracy: str, interval: int = 1, **spec: Any
) -> Object:
    """A policy that asks a Prometheus for drift, which is above 0.25, and for accuracy, which is below 0.8.

    Args:
        name: of policy and model.
        prometheus: address of the Prometheus.
        drift, accuracy: queries.
        interval: seconds between two checks.
        spec: other fields of the policy.
    """
    judged = {"window": {"seconds": 2}, "breachedWindows": 2, "ofWindows": 2}
    asked = {"serverAddress": prometheus, "drift": {"query": drift}, "performance": {"query": accuracy}}
    return retraining_policy(
        name,
        drift={"threshold": 0.25, **judged},
        performance={"threshold": 0.8, **judged},
        monitoring={"intervalSeconds": interval, "prometheus": asked},
        **spec,
    )
