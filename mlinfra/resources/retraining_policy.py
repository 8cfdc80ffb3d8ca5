"""RetrainingPolicy: when a model is trained again, and with which TrainingJob."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from mlinfra.resources.base import (
    API_VERSION,
    Integer,
    ObjectMeta,
    ResourceModel,
)
from mlinfra.resources.label import Annotations, Labels
from mlinfra.resources.model_name import ModelName
from mlinfra.resources.monitoring import AutomaticRollback, DriftPolicy, PerformancePolicy
from mlinfra.resources.monitoring_sources import PROMETHEUS_RULES, MonitoringSource, prometheus_problem
from mlinfra.resources.retraining_policy_status import (
    MAX_SCHEDULE,
    MAX_TIME_ZONE,
    RetrainingPolicyStatus,
)
from mlinfra.resources.training_job import TrainingJobSpec

MAX_POLICY_NAME_LENGTH = 52
"""As of a CronJob; the name is also a label's value."""
MAX_BACKOFF_FACTOR, MOST_BACKOFF_FACTOR = 32, 64
FOREIGN_MODEL = "modelName must be the modelName of the trainingJobTemplate"
POLICY_NAME_TOO_LONG = f"metadata.name must have at most {MAX_POLICY_NAME_LENGTH} characters"
ZONE_WITHOUT_SCHEDULE = "timeZone and startingDeadlineSeconds belong to a schedule: give one"
ROLLBACK_WITHOUT_PERFORMANCE = "rollback compares performance: give performance as well"


class TemplateMetadata(ResourceModel):
    """Metadata of the TrainingJobs that a policy creates; their names are the policy's to give."""

    labels: Annotated[
        Labels | None,
        Field(max_length=64, description="Labels of the TrainingJob."),
    ] = None
    annotations: Annotated[
        Annotations | None,
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
                },
                {
                    "rule": "has(self.schedule)"
                    " || !(has(self.timeZone) || has(self.startingDeadlineSeconds))",
                    "message": ZONE_WITHOUT_SCHEDULE,
                },
                {
                    "rule": "!has(self.rollback) || has(self.performance)",
                    "message": ROLLBACK_WITHOUT_PERFORMANCE,
                },
                *PROMETHEUS_RULES,
            ]
        }
    )

    model_name: ModelName
    training_job_template: Annotated[
        TrainingJobTemplate, Field(description="The TrainingJob that the policy creates.")
    ]
    drift: Annotated[
        DriftPolicy | None,
        Field(description="Watch how far what the model is asked differs from what it learnt from."),
    ] = None
    performance: Annotated[
        PerformancePolicy | None,
        Field(description="Watch how good the model's answers are; training starts where they are not."),
    ] = None
    monitoring: Annotated[MonitoringSource, Field(description="How drift and performance are asked for.")] = (
        MonitoringSource()
    )
    rollback: Annotated[
        AutomaticRollback | None,
        Field(
            description="Bring the version before back where a new one of this policy does worse; the "
            "policy's monitors then ask for no training until its schedule or a person does."
        ),
    ] = None
    schedule: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=MAX_SCHEDULE,
            description="When to train, as cron writes it, such as '0 3 * * *'; not by time where absent.",
        ),
    ] = None
    time_zone: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=MAX_TIME_ZONE,
            description="IANA name of the schedule's time zone, such as Europe/Berlin; UTC where absent.",
        ),
    ] = None
    starting_deadline_seconds: Annotated[
        Integer | None,
        Field(
            ge=0,
            le=2147483647,
            description="How late a missed training may still start; however late where absent.",
        ),
    ] = None
    suspend: Annotated[
        bool,
        Field(description="Start no trainings but those that a person asks for; active ones go on."),
    ] = False
    concurrency_policy: Annotated[
        Literal["Allow", "Forbid", "Replace"],
        Field(
            description="While a training is active: Allow another one, Forbid it until that one has ended, "
            "or Replace that one."
        ),
    ] = "Forbid"
    cooldown_seconds: Annotated[
        Integer,
        Field(
            ge=0,
            le=31536000,
            description="The least seconds from the start of one training to the next, unless a person asks.",
        ),
    ] = 0
    max_runs_per_day: Annotated[
        Integer | None,
        Field(ge=1, le=100, description="The most trainings to start in any 24 hours, whoever asks."),
    ] = None
    max_backoff_factor: Annotated[
        Integer,
        Field(
            ge=1,
            le=MOST_BACKOFF_FACTOR,
            description="The monitors wait twice as long, for newer windows and for the cool-down, after the "
            "second of their trainings in a row whose version was not good enough, and after each more: at "
            "most so many times as long; 1 for never longer. A promotion and a change of the spec end that.",
        ),
    ] = MAX_BACKOFF_FACTOR
    successful_jobs_history_limit: Annotated[
        Integer, Field(ge=0, le=100, description="How many successful TrainingJobs to keep.")
    ] = 3
    failed_jobs_history_limit: Annotated[
        Integer, Field(ge=0, le=100, description="How many failed TrainingJobs to keep.")
    ] = 1

    @model_validator(mode="after")
    def _trains_its_own_model(self) -> "RetrainingPolicySpec":
        if self.model_name != self.training_job_template.spec.model_name:
            raise ValueError(FOREIGN_MODEL)
        return self

    @model_validator(mode="after")
    def _has_what_fields_belong_to(self) -> "RetrainingPolicySpec":
        if self.schedule is None and (
            self.time_zone is not None or self.starting_deadline_seconds is not None
        ):
            raise ValueError(ZONE_WITHOUT_SCHEDULE)
        if self.rollback is not None and self.performance is None:
            raise ValueError(ROLLBACK_WITHOUT_PERFORMANCE)
        problem = prometheus_problem(self.monitoring.prometheus, self.drift, self.performance)
        if problem is not None:
            raise ValueError(problem)
        return self


class RetrainingPolicy(ResourceModel):
    """Decides when a model is trained again, and with which TrainingJob."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                {
                    "rule": f"size(self.metadata.name) <= {MAX_POLICY_NAME_LENGTH}",
                    "message": POLICY_NAME_TOO_LONG,
                },
            ]
        },
    )

    api_version: Literal["mlinfra.io/v1alpha1"] = API_VERSION
    kind: Literal["RetrainingPolicy"] = "RetrainingPolicy"
    metadata: ObjectMeta
    spec: RetrainingPolicySpec
    status: RetrainingPolicyStatus = Field(default_factory=RetrainingPolicyStatus)

    @model_validator(mode="after")
    def _name_fits(self) -> "RetrainingPolicy":
        if len(self.metadata.name) > MAX_POLICY_NAME_LENGTH:
            raise ValueError(POLICY_NAME_TOO_LONG)
        return self
