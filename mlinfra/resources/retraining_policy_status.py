"""What is observed of a RetrainingPolicy: which trainings it started, and when the next one is due."""

from typing import Annotated, Literal

from pydantic import Field

from mlinfra.resources.base import ConditionList, Integer, ResourceModel, UniqueBy

MAX_HISTORY = 100
Trigger = Literal["manual", "scheduled", "performance", "drift"]
PolicyPhase = Literal["Idle", "Training", "Held", "Suspended", "Invalid"]

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


class StartedTraining(ResourceModel):
    """A training that the policy started."""

    name: Annotated[str, Field(max_length=253, description="Name of the TrainingJob.")]
    trigger: Annotated[Trigger, Field(description="What asked for it.")]
    start_time: Annotated[Time, Field(description="When the TrainingJob was created.")]


class PastTraining(StartedTraining):
    """A training that has come to its end."""

    outcome: Annotated[
        Literal["Succeeded", "Failed", "Deleted"],
        Field(description="How it ended; Deleted where it was before it came to its end."),
    ]
    completion_time: Annotated[Time | None, Field(description="When it ended.")] = None


class RetrainingPolicyStatus(ResourceModel):
    """Observed state of a RetrainingPolicy."""

    phase: Annotated[PolicyPhase | None, Field(description="Summary of the conditions, for people.")] = None
    conditions: ConditionList = Field(default_factory=list)
    observed_generation: Annotated[
        Integer | None, Field(description="The metadata.generation that this status tells of.")
    ] = None
    active: Annotated[
        list[StartedTraining],
        Field(max_length=MAX_HISTORY, description="TrainingJobs that have not come to their end."),
        UniqueBy("name"),
    ] = Field(default_factory=list)
    history: Annotated[
        list[PastTraining],
        Field(
            max_length=MAX_HISTORY,
            description="Trainings that have, the newest first; their TrainingJobs may be gone by now.",
        ),
        UniqueBy("name"),
    ] = Field(default_factory=list)
    last_training_time: Annotated[Time | None, Field(description="When the last training was started.")] = (
        None
    )
    last_schedule_time: Annotated[
        Time | None, Field(description="The last scheduled time that a training was started for.")
    ] = None
    next_scheduled_time: Annotated[Time | None, Field(description="The next time of the schedule.")] = None
    last_manual_request: Annotated[
        str | None,
        Field(max_length=256, description="The annotation's value that a training was last started for."),
    ] = None
