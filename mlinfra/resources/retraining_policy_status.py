"""What is observed of a RetrainingPolicy: which trainings it started, and when the next one is due."""

from typing import Annotated, Literal

from pydantic import Field

from mlinfra.resources.base import ConditionList, Integer, ResourceModel, UniqueBy
from mlinfra.resources.monitor_status import MAX_MONITORS, MonitorEvidence, Time

MAX_HISTORY = 100
MAX_SCHEDULE = 128
MAX_TIME_ZONE = 64
Trigger = Literal["manual", "scheduled", "performance", "drift"]
PolicyPhase = Literal["Idle", "Training", "Held", "Suspended", "Invalid"]


class StartedTraining(ResourceModel):
    """A training that the policy started."""

    name: Annotated[str, Field(max_length=253, description="Name of the TrainingJob.")]
    trigger: Annotated[Trigger, Field(description="What asked for it.")]
    start_time: Annotated[Time, Field(description="When the TrainingJob was created.")]
    events_until: Annotated[
        Time | None,
        Field(
            description="End of the newest window, by event time, of the evidence that asked for it; absent "
            "where no monitor did."
        ),
    ] = None


class PastTraining(StartedTraining):
    """A training that has come to its end."""

    outcome: Annotated[
        Literal["Succeeded", "Failed", "Deleted"],
        Field(description="How it ended; Deleted where it was before it came to its end."),
    ]
    completion_time: Annotated[Time | None, Field(description="When it ended.")] = None
    promoted: Annotated[
        bool | None,
        Field(
            description="Whether its version got its stage, or was not good enough for it; absent while that "
            "is open."
        ),
    ] = None
    policy_generation: Annotated[
        Integer | None, Field(description="The policy's metadata.generation that it was created by.")
    ] = None


class MonitorStatus(MonitorEvidence):
    """The last check of one kind."""

    check_time: Annotated[Time, Field(description="When the model's server was last asked.")]
    breaches: Annotated[
        Integer, Field(ge=0, description="How many windows in a row breached, up to the newest.")
    ] = 0


class TrialStatus(ResourceModel):
    """A new version in Production that still has to show that it is no worse than the one before."""

    version: Annotated[str, Field(max_length=64, description="Its number.")]
    previous: Annotated[str, Field(max_length=64, description="Number of the version before.")]
    since: Annotated[Time, Field(description="Since when it is on trial.")]
    until: Annotated[Time, Field(description="When it has passed.")]
    baseline: Annotated[
        MonitorEvidence, Field(description="What the version before came to in its last windows.")
    ]


class CircuitBreakerStatus(ResourceModel):
    """An open circuit breaker: the policy's monitors ask for no training."""

    opened_at: Annotated[Time, Field(description="Since when.")]
    version: Annotated[str, Field(max_length=64, description="Number of the version that was rolled back.")]
    message: Annotated[str, Field(max_length=1000, description="Why it opened.")] = ""


class ObservedSchedule(ResourceModel):
    """The schedule that times are due by; one that is set later owes no training for a time before."""

    schedule: Annotated[str, Field(max_length=MAX_SCHEDULE, description="As in spec.")]
    time_zone: Annotated[str | None, Field(max_length=MAX_TIME_ZONE, description="As in spec.")] = None
    since: Annotated[
        Time,
        Field(description="When the policy was created with it, or the operator saw that it was changed."),
    ]


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
    fruitless_trainings: Annotated[
        Integer | None,
        Field(
            ge=0,
            description="Trainings in a row, up to the newest, that the monitors asked for and that failed "
            "or whose version was not good enough; see maxBackoffFactor.",
        ),
    ] = None
    last_training_time: Annotated[Time | None, Field(description="When the last training was started.")] = (
        None
    )
    last_schedule_time: Annotated[
        Time | None, Field(description="The last scheduled time that a training was started for.")
    ] = None
    observed_schedule: Annotated[
        ObservedSchedule | None, Field(description="The schedule, and since when its times are due.")
    ] = None
    next_scheduled_time: Annotated[Time | None, Field(description="The next time of the schedule.")] = None
    last_manual_request: Annotated[
        str | None,
        Field(max_length=256, description="The annotation's value that a training was last started for."),
    ] = None
    monitors: Annotated[
        list[MonitorStatus],
        Field(max_length=MAX_MONITORS, description="The last check of drift, and of performance."),
        UniqueBy("trigger"),
    ] = Field(default_factory=list)
    last_drift_check_time: Annotated[Time | None, Field(description="When drift was last checked.")] = None
    last_drift_score: Annotated[
        str | None, Field(max_length=64, description="The last score of drift that there was.")
    ] = None
    last_performance_check_time: Annotated[
        Time | None, Field(description="When performance was last checked.")
    ] = None
    last_performance_score: Annotated[
        str | None, Field(max_length=64, description="The last performance that there was.")
    ] = None
    last_check_request: Annotated[
        str | None,
        Field(
            max_length=256,
            description="The annotation's value that the monitors were last asked for; what they said is "
            "acted on.",
        ),
    ] = None
    production_version: Annotated[
        str | None, Field(max_length=64, description="The version last seen in Production.")
    ] = None
    production_performance: Annotated[
        MonitorEvidence | None,
        Field(description="The last performance of that version that was certain enough to judge by."),
    ] = None
    trial: Annotated[
        TrialStatus | None, Field(description="The new version whose first observation window is not over.")
    ] = None
    circuit_breaker: Annotated[
        CircuitBreakerStatus | None,
        Field(description="Open since a version was rolled back; absent while closed."),
    ] = None
    last_circuit_breaker_close: Annotated[
        str | None, Field(max_length=256, description="The annotation's value that last closed it.")
    ] = None
