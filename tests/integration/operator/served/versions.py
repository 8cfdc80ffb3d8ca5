"""Versions of a model in MLflow, and the ModelVersions that stand for them."""

from typing import Any

from mlflow import MlflowClient

from mlinfra.kube.resource import MODEL_VERSIONS
from mlinfra.tracking.contract import SHA256_TAG

Object = dict[str, Any]


async def serving(world: Any, eventually: Any, name: str, status: str, reason: str | None = None) -> Object:
    """The ModelVersion, once its condition Serving says so."""

    async def told() -> Object | None:
        found = await world.kube.find(MODEL_VERSIONS, name, world.namespace)
        conditions = (found or {}).get("status", {}).get("conditions") or ()
        for item in conditions:
            if item["type"] == "Serving" and item["status"] == status and reason in (None, item["reason"]):
                return found
        return None

    found: Object = await eventually(told, f"Serving={status}/{reason} of {name}", seconds=60)
    return found


async def version(world: Any, name: str, model: str, number: str, **spec: Any) -> None:
    """A ModelVersion as a person applies it."""
    await world.apply(
        {
            "apiVersion": "mlinfra.io/v1alpha1",
            "kind": "ModelVersion",
            "metadata": {"name": name},
            "spec": {"modelName": model, "version": number, **spec},
        }
    )


def register(tracking: MlflowClient, model: str, count: int) -> None:
    """Versions of a registered model, each of a logged model with a digest."""
    experiment = tracking.create_experiment(model)
    tracking.create_registered_model(model)
    for number in range(1, count + 1):
        run = tracking.create_run(experiment)
        logged = tracking.create_logged_model(experiment, name="model", source_run_id=run.info.run_id)
        tracking.set_logged_model_tags(logged.model_id, {SHA256_TAG: f"digest-{number}"})
        tracking.finalize_logged_model(logged.model_id, "READY")
        tracking.create_model_version(
            model,
            f"models:/{logged.model_id}",
            run_id=run.info.run_id,
            await_creation_for=0,
            model_id=logged.model_id,
        )
        tracking.set_terminated(run.info.run_id, "FINISHED")
