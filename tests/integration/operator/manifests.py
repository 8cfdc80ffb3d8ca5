"""TrainingJobs as the tests apply them, and what their status says."""

from typing import Any

Object = dict[str, Any]


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


def retraining_policy(name: str, **spec: Any) -> Object:
    template = training_job(name, **gated(0.8))["spec"]
    return {
        "apiVersion": "mlinfra.io/v1alpha1",
        "kind": "RetrainingPolicy",
        "metadata": {"name": name},
        "spec": {"modelName": name, "trainingJobTemplate": {"spec": template}, **spec},
    }
