"""What is observed of a TrainingJob: phase, conditions, progress, and what came out."""

from typing import Annotated, Literal

from pydantic import Field

from mlinfra.resources.base import ConditionList, Integer, ResourceModel, UniqueBy
from mlinfra.resources.monitor_status import Evidence
from mlinfra.resources.retraining_policy_status import Trigger

MAX_SNAPSHOT_LENGTH = 64
MAX_DIGEST_LENGTH = 135
"""Of ``sha512:`` and 128 digits."""


class Metric(ResourceModel):
    """A measured value; a string, as the Kubernetes API conventions ask for fractions."""

    name: Annotated[str, Field(max_length=250, description="Name of the metric in MLflow.")]
    value: Annotated[str, Field(max_length=64, description="Its latest value, as a decimal.")]


MetricList = Annotated[
    list[Metric],
    Field(
        max_length=256,
        description="Latest values of the run's metrics.",
    ),
    UniqueBy("name"),
]


class TrainerStatus(ResourceModel):
    """How far the training is, as its MLflow run tells."""

    progress_percentage: Annotated[
        Integer | None, Field(ge=0, le=100, description="Share of the epochs or steps done.")
    ] = None
    estimated_remaining_seconds: Annotated[
        Integer | None, Field(ge=0, description="Seconds left at the pace of the last epochs or steps.")
    ] = None
    current_epoch: Annotated[Integer | None, Field(ge=0, description="Epochs done.")] = None
    total_epochs: Annotated[Integer | None, Field(ge=0, description="The most epochs to train.")] = None
    metrics: MetricList = Field(default_factory=list)
    last_updated_time: Annotated[
        str | None,
        Field(description="When the trainer last reported.", json_schema_extra={"format": "date-time"}),
    ] = None


class MlflowRun(ResourceModel):
    """The MLflow run of a training."""

    run_id: Annotated[str, Field(alias="runID", description="ID of the run.")]
    experiment_id: Annotated[str, Field(alias="experimentID", description="ID of its experiment.")]
    url: Annotated[str | None, Field(description="The run's page in the MLflow UI.")] = None


class ModelVersionReference(ResourceModel):
    """The ModelVersion that came out of a training."""

    name: Annotated[str, Field(description="Name of the ModelVersion in the same namespace.")]


class Lineage(ResourceModel):
    """Where what a training learns comes from, and who asked for the training."""

    feature_snapshot: Annotated[
        str | None,
        Field(
            max_length=MAX_SNAPSHOT_LENGTH,
            description="ID of the feature store's snapshot of the rows that are learnt from.",
        ),
    ] = None
    image_digest: Annotated[
        str | None,
        Field(
            max_length=MAX_DIGEST_LENGTH,
            description="Digest of the image that the training pod ran, where its kubelet reports one.",
        ),
    ] = None
    retraining_policy: Annotated[
        str | None,
        Field(max_length=253, description="Name of the RetrainingPolicy that created the TrainingJob."),
    ] = None
    trigger: Annotated[
        Trigger | None, Field(description="What asked the RetrainingPolicy for the training.")
    ] = None
    message: Annotated[str | None, Field(max_length=1000, description="Why it asked, for people.")] = None
    evidence: Evidence | None = None


Phase = Literal["Queued", "Pending", "Running", "Suspended", "Registering", "Succeeded", "Failed"]


class TrainingJobStatus(ResourceModel):
    """Observed state of a TrainingJob."""

    phase: Annotated[Phase | None, Field(description="Summary of the conditions, for people.")] = None
    conditions: ConditionList = Field(default_factory=list)
    observed_generation: Annotated[
        Integer | None, Field(description="The metadata.generation that this status tells of.")
    ] = None
    start_time: Annotated[
        str | None,
        Field(description="When the first pod started.", json_schema_extra={"format": "date-time"}),
    ] = None
    completion_time: Annotated[
        str | None,
        Field(
            description="When the model was registered or the training failed.",
            json_schema_extra={"format": "date-time"},
        ),
    ] = None
    attempts: Annotated[Integer | None, Field(ge=0, description="How often the training was started.")] = None
    gpus: Annotated[
        Integer | None, Field(ge=0, description="GPUs of all pods together; absent without any.")
    ] = None
    job_name: Annotated[str | None, Field(description="Name of the child batch/v1 Job.")] = None
    trainer_status: Annotated[TrainerStatus | None, Field(description="How far the training is.")] = None
    mlflow: Annotated[MlflowRun | None, Field(description="The MLflow run of the training.")] = None
    lineage: Annotated[
        Lineage | None, Field(description="Where the rows come from, and who asked for the training.")
    ] = None
    model_version_ref: Annotated[
        ModelVersionReference | None, Field(description="The ModelVersion that came out.")
    ] = None
