"""Gates: the measured conditions under which a model version may take a stage."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from mlinfra.resources.base import ResourceModel

Stage = Literal["None", "Staging", "Production", "Archived"]


class Gate(ResourceModel):
    """A bound on one metric of the model's run."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                {
                    "rule": "has(self.min) || has(self.max)",
                    "message": "a gate needs min, max or both",
                },
                {
                    "rule": "!has(self.min) || !has(self.max) || self.min <= self.max",
                    "message": "min must not be above max",
                },
            ]
        }
    )

    metric: Annotated[
        str,
        Field(
            min_length=1,
            max_length=250,
            description="Name of a metric logged to the run, such as test_accuracy.",
        ),
    ]
    min: Annotated[float | None, Field(description="The least value that passes.")] = None
    max: Annotated[float | None, Field(description="The greatest value that passes.")] = None

    @model_validator(mode="after")
    def _has_bounds(self) -> "Gate":
        if self.min is None and self.max is None:
            raise ValueError("a gate needs min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("min must not be above max")
        return self


GateList = Annotated[
    list[Gate],
    Field(
        max_length=16,
        description="All of them must pass before the model version takes its stage.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    ),
]


Approval = Literal["Approved", "PendingManualApproval", "Rejected"]
DeletionPolicy = Annotated[
    Literal["Retain", "Delete"],
    Field(
        description="What becomes of the version in MLflow when its ModelVersion is deleted: Retain keeps "
        "it as it is, Delete archives it where it has a stage and deletes it."
    ),
]


class Challenger(ResourceModel):
    """How much better than the version in Production a new one must be, on the same test rows."""

    metric: Annotated[
        str,
        Field(
            min_length=1,
            max_length=240,
            description="Metric to compare, such as test_accuracy; the run holds the value of the version in "
            "Production as champion_test_accuracy.",
        ),
    ]
    goal: Annotated[
        Literal["Maximize", "Minimize"], Field(description="Whether more of the metric is better, or less.")
    ] = "Maximize"
    min_improvement: Annotated[
        float, Field(description="The least by which it must be better; may be negative.")
    ] = 0.0
