"""RetrainingPolicy: which TrainingJob to create again when its model should be renewed.

Served, so that policies can be kept in Git; triggers arrive with the code that acts on them.
"""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from mlinfra.resources.base import (
    API_VERSION,
    ConditionList,
    Integer,
    ObjectMeta,
    ResourceModel,
    WithoutNulls,
)
from mlinfra.resources.model_name import ModelName
from mlinfra.resources.training_job import TrainingJobSpec

FOREIGN_MODEL = "modelName must be the modelName of the trainingJobTemplate"


class TemplateMetadata(ResourceModel):
    """Metadata of the TrainingJobs that a policy creates; their names are the policy's to give."""

    labels: Annotated[
        Annotated[dict[str, Annotated[str, Field(max_length=63)]], WithoutNulls] | None,
        Field(max_length=64, description="Labels of the TrainingJob."),
    ] = None
    annotations: Annotated[
        Annotated[dict[str, str], WithoutNulls] | None,
        Field(max_length=64, description="Annotations of the TrainingJob."),
    ] = None


class TrainingJobTemplate(ResourceModel):
    """The TrainingJob that a policy creates."""

    metadata: Annotated[
        TemplateMetadata | None, Field(description="Labels and annotations of the TrainingJob.")
    ] = None
    spec: Annotated[TrainingJobSpec, Field(description="Spec of the TrainingJob.")]


class RetrainingPolicySpec(ResourceModel):
    """Desired state of a RetrainingPolicy."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                {
                    "rule": "self.modelName == self.trainingJobTemplate.spec.modelName",
                    "message": FOREIGN_MODEL,
                }
            ]
        }
    )

    model_name: ModelName
    training_job_template: Annotated[
        TrainingJobTemplate, Field(description="The TrainingJob that the policy creates.")
    ]

    @model_validator(mode="after")
    def _trains_its_own_model(self) -> "RetrainingPolicySpec":
        if self.model_name != self.training_job_template.spec.model_name:
            raise ValueError(FOREIGN_MODEL)
        return self


class RetrainingPolicyStatus(ResourceModel):
    """Observed state of a RetrainingPolicy."""

    conditions: ConditionList = Field(default_factory=list)
    observed_generation: Annotated[
        Integer | None, Field(description="The metadata.generation that this status tells of.")
    ] = None


class RetrainingPolicy(ResourceModel):
    """Decides when a model is trained again, and with which TrainingJob."""

    api_version: Literal["mlinfra.io/v1alpha1"] = API_VERSION
    kind: Literal["RetrainingPolicy"] = "RetrainingPolicy"
    metadata: ObjectMeta
    spec: RetrainingPolicySpec
    status: RetrainingPolicyStatus = Field(default_factory=RetrainingPolicyStatus)
