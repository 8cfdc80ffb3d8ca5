"""Plain values that the operator's tests decide on."""

from datetime import UTC, datetime
from typing import Any

from mlinfra.resources import ModelVersion, TrainingJob
from mlinfra_operator.tracking import ModelOwner, RegisteredModel, RegisteredVersion, Run
from mlinfra_operator.trainingjob.observed import ChildJob

Object = dict[str, Any]

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
NOW_TEXT = "2026-01-02T03:04:05Z"
NAMESPACE = "team"
UID = "uid-1"
RUN_ID = "run-1"


def training_job(*, name: str = "job", status: Object | None = None, **spec: Any) -> TrainingJob:
    return TrainingJob.model_validate(
        {
            "metadata": {"name": name, "namespace": NAMESPACE, "uid": UID, "generation": 1},
            "spec": {"modelName": "model", "image": "image", **spec},
            "status": status or {},
        }
    )


def child(**facts: Any) -> ChildJob:
    """The TrainingJob's own child Job."""
    known: Object = {"uid": "job-uid", "owner_uid": UID, "training_job": "job", "run_id": RUN_ID}
    return ChildJob(**(known | facts))


def run(**facts: Any) -> Run:
    known: Object = {"run_id": RUN_ID, "experiment_id": "7", "status": "RUNNING"}
    return Run(**(known | facts))


def model_version(
    *, version: str = "1", status: Object | None = None, generation: int = 1, **spec: Any
) -> ModelVersion:
    return ModelVersion.model_validate(
        {
            "metadata": {
                "name": f"model-{version}",
                "namespace": NAMESPACE,
                "uid": f"uid-{version}",
                "generation": generation,
            },
            "spec": {
                "modelName": "model",
                "version": version,
                "source": {"runID": RUN_ID, "trainingJob": "job"},
                **spec,
            },
            "status": status or {},
        }
    )


def registered(version: str, stage: Any = "None", *, aliases: tuple[str, ...] = ()) -> RegisteredVersion:
    return RegisteredVersion(version, stage, stage, aliases, RUN_ID)


def registry(*versions: RegisteredVersion, owner: str = NAMESPACE) -> RegisteredModel:
    return RegisteredModel(ModelOwner(owner), {found.version: found for found in versions})
