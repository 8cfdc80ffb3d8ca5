"""What the monitors of a served model said, as statuses and lineages hold it."""

from typing import Annotated, Literal

from pydantic import Field

from mlinfra.resources.base import Integer, ResourceModel

MAX_DRIFTED_FEATURES = 16
MAX_MONITORS = 2
"""One for drift and one for performance."""
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


class DriftedFeature(ResourceModel):
    """A feature whose distribution differs from what the model learnt from."""

    name: Annotated[str, Field(max_length=253, description="Its name.")]
    score: Annotated[str, Field(max_length=64, description="How far it differs.")]
    threshold: Annotated[str, Field(max_length=64, description="What that was compared with.")]


class MonitorEvidence(ResourceModel):
    """One check of drift or performance, over the newest windows of what was served."""

    trigger: Annotated[Literal["performance", "drift"], Field(description="What was checked.")]
    outcome: Annotated[
        Literal["ok", "breached", "inconclusive", "error"],
        Field(description="What it came to; too few samples are inconclusive."),
    ]
    window_start: Annotated[Time | None, Field(description="Start of the oldest window, in event time.")] = (
        None
    )
    window_end: Annotated[Time | None, Field(description="End of the newest window, in event time.")] = None
    metric: Annotated[str | None, Field(max_length=64, description="What was measured.")] = None
    score: Annotated[str | None, Field(max_length=64, description="The measured value.")] = None
    threshold: Annotated[str | None, Field(max_length=64, description="What it was compared with.")] = None
    estimated: Annotated[bool, Field(description="Whether it was estimated, for want of labels.")] = False
    samples: Annotated[Integer | None, Field(ge=0, description="How many predictions it was taken from.")] = (
        None
    )
    standard_error: Annotated[
        str | None,
        Field(max_length=64, description="How far the measured value varies although nothing changed."),
    ] = None
    features: Annotated[
        list[DriftedFeature],
        Field(
            max_length=MAX_DRIFTED_FEATURES,
            description="Features that drifted, the worst first.",
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
        ),
    ] = Field(default_factory=list)
    model_version: Annotated[
        str | None, Field(max_length=64, description="The version that was checked.")
    ] = None
    message: Annotated[str, Field(max_length=1000, description="What a person should know.")] = ""


Evidence = Annotated[
    list[MonitorEvidence],
    Field(
        max_length=MAX_MONITORS,
        description="What the monitors said that asked for the training.",
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    ),
]
