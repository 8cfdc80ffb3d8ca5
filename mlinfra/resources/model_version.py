"""ModelVersion: one version of a registered model, the stage it should have and has."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from mlinfra.resources.base import (
    API_VERSION,
    ConditionList,
    Integer,
    ObjectMeta,
    ResourceModel,
)
from mlinfra.resources.model_name import ModelName
from mlinfra.resources.monitor_status import Evidence
from mlinfra.resources.promotion import Approval, Challenger, DeletionPolicy, GateList, Stage
from mlinfra.resources.retraining_policy_status import Trigger
from mlinfra.resources.serving import CanaryStatus, Serving
from mlinfra.resources.training_job_status import MAX_DIGEST_LENGTH, MAX_SNAPSHOT_LENGTH, MetricList

__all__ = ["ModelVersion", "ModelVersionSource", "ModelVersionSpec", "ModelVersionStatus", "Stage"]


MAX_STAGE_CHANGES = 20
MAX_GATE_MESSAGE_LENGTH = 1000
ModelVersionPhase = Literal[
    "Pending",
    "Registered",
    "GatesFailed",
    "PendingApproval",
    "Rejected",
    "Staging",
    "Production",
    "Archived",
]


class ModelVersionSource(ResourceModel):
    """Where the version came from."""

    run_id: Annotated[
        str | None, Field(alias="runID", max_length=64, description="The MLflow run that logged the model.")
    ] = None
    training_job: Annotated[
        str | None,
        Field(max_length=253, description="Name of the TrainingJob in the same namespace."),
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
    feature_snapshot: Annotated[
        str | None,
        Field(
            max_length=MAX_SNAPSHOT_LENGTH,
            description="ID of the feature store's snapshot of the rows that the model learnt from.",
        ),
    ] = None
    image_digest: Annotated[
        str | None,
        Field(
            max_length=MAX_DIGEST_LENGTH,
            description="Digest of the image that the training pod ran, where its kubelet reports one.",
        ),
    ] = None


class ModelVersionSpec(ResourceModel):
    """Desired state of a ModelVersion."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                {
                    "rule": "self.modelName == oldSelf.modelName && self.version == oldSelf.version",
                    "message": "modelName and version are immutable",
                },
                {
                    "rule": "has(self.source) == has(oldSelf.source)"
                    " && (!has(self.source) || self.source == oldSelf.source)",
                    "message": "source is immutable",
                },
            ]
        }
    )

    model_name: ModelName
    version: Annotated[
        str,
        Field(
            max_length=18,
            pattern=r"^[1-9][0-9]*$",
            description="Version number in MLflow's registry, as a string.",
        ),
    ]
    source: Annotated[ModelVersionSource | None, Field(description="Where the version came from.")] = None
    stage: Annotated[
        Stage | None,
        Field(
            description="The stage the version should have; Kubernetes owns it then and MLflow follows. "
            "Where absent, MLflow owns the stage and status mirrors it."
        ),
    ] = None
    gates: GateList = Field(default_factory=list)
    challenger: Annotated[
        Challenger | None,
        Field(description="Compare with the version in Production; passed where there is none."),
    ] = None
    approval: Annotated[
        Approval,
        Field(
            description="Whether the version may take its stage: PendingManualApproval waits for a person, "
            "who sets Approved or Rejected."
        ),
    ] = "Approved"
    deletion_policy: DeletionPolicy = "Retain"
    serving: Annotated[
        Serving | None, Field(description="How the version is served; not at all where absent.")
    ] = None


class GateResult(ResourceModel):
    """What a gate measured."""

    metric: Annotated[str, Field(max_length=250, description="The metric of the gate.")]
    value: Annotated[
        str | None, Field(max_length=64, description="The measured value; absent where none was logged.")
    ] = None
    champion_value: Annotated[
        str | None,
        Field(max_length=64, description="The same of the version in Production, where it is compared."),
    ] = None
    outcome: Annotated[
        Literal["Passed", "Failed", "Inconclusive", "Error"],
        Field(
            description="Passed or Failed; Inconclusive where the metric was not logged or Production not "
            "measured; Error where what was measured cannot be read, or is no number."
        ),
    ]
    reason: Annotated[
        str | None,
        Field(max_length=64, description="Why there is no verdict, in CamelCase; absent where there is one."),
    ] = None
    message: Annotated[
        str | None, Field(max_length=MAX_GATE_MESSAGE_LENGTH, description="The same for people.")
    ] = None


class StageChange(ResourceModel):
    """A stage that the version had."""

    stage: Annotated[Stage, Field(description="The stage.")]
    time: Annotated[
        str, Field(description="Since when it was seen.", json_schema_extra={"format": "date-time"})
    ]


class ModelVersionStatus(ResourceModel):
    """Observed state of a ModelVersion."""

    phase: Annotated[
        ModelVersionPhase | None,
        Field(description="Summary of stage and conditions, for people."),
    ] = None
    conditions: ConditionList = Field(default_factory=list)
    observed_generation: Annotated[
        Integer | None, Field(description="The metadata.generation that this status tells of.")
    ] = None
    stage: Annotated[Stage | None, Field(description="The stage the version has in MLflow.")] = None
    aliases: Annotated[
        list[str],
        Field(
            max_length=32,
            description="Aliases of the version in MLflow.",
            json_schema_extra={"x-kubernetes-list-type": "set"},
        ),
    ] = Field(default_factory=list)
    production_claimed_at: Annotated[
        str | None,
        Field(
            description="When the version last began to claim Production; the newest claim has it.",
            json_schema_extra={"format": "date-time"},
        ),
    ] = None
    digest: Annotated[
        str | None,
        Field(
            max_length=128,
            description="SHA-256 of the model's file when the version was first seen: only that is served.",
        ),
    ] = None
    endpoint: Annotated[
        str | None,
        Field(max_length=512, description="Where the version is served: the address of its Service."),
    ] = None
    canary: Annotated[
        CanaryStatus | None,
        Field(description="Its share of Production's requests while another version answers beside it."),
    ] = None
    took_over_at: Annotated[
        str | None,
        Field(
            description="When it first had all of Production's requests: it never is a canary again.",
            json_schema_extra={"format": "date-time"},
        ),
    ] = None
    metrics: MetricList = Field(default_factory=list)
    gates: Annotated[
        list[GateResult],
        Field(
            max_length=17,
            description="What each gate measured, and the comparison with Production after them.",
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
        ),
    ] = Field(default_factory=list)
    history: Annotated[
        list[StageChange],
        Field(
            max_length=MAX_STAGE_CHANGES,
            description="Stages that the version had in MLflow, the newest first.",
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
        ),
    ] = Field(default_factory=list)


class ModelVersion(ResourceModel):
    """One version of a registered model in MLflow, the stage it should have, and the one it has."""

    api_version: Literal["mlinfra.io/v1alpha1"] = API_VERSION
    kind: Literal["ModelVersion"] = "ModelVersion"
    metadata: ObjectMeta
    spec: ModelVersionSpec
    status: ModelVersionStatus = Field(default_factory=ModelVersionStatus)
