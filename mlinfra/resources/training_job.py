"""TrainingJob: train one model once, register the result, and ask for its stage."""

import datetime
import unicodedata
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from mlinfra.resources.base import (
    API_VERSION,
    ConditionList,
    Integer,
    ObjectMeta,
    ResourceModel,
    UniqueBy,
    WithoutNulls,
)
from mlinfra.resources.pod import (
    EnvFromSource,
    EnvVar,
    FreeFormObject,
    ResourceRequirements,
    Toleration,
    Volume,
    VolumeMount,
)
from mlinfra.resources.promotion import GateList

MAX_NAME_LENGTH = 52
"""Of a TrainingJob: its Job's pods append their own suffix."""
FORBIDDEN_IN_MODEL_NAMES = "/:?'\"\\"
"""MLflow refuses slash and colon; a question mark breaks its URIs, quotes and backslash its filters."""
MODEL_NAME_PATTERN = (
    r"""^[^/:?'"\\\pZ\p{Cc}.]([^/:?'"\\\p{Cc}]*[^/:?'"\\\pZ\p{Cc}])?$"""  # as `_model_name` below
)
MODEL_NAME_RULE = (
    "a model name has none of / : ? ' \" \\ and no control characters, "
    "and starts with no dot and neither starts nor ends with a space"
)
MODEL_WITHOUT_DATA = "model and data belong together: give both, or neither and your own image or command"
NOTHING_TO_RUN = "give model and data for the built-in trainer, or command or image for your own code"
NAME_TOO_LONG = f"metadata.name must have at most {MAX_NAME_LENGTH} characters: pod names derive from it"
UNKNOWN_VOLUME = "every volumeMount needs the volume it names"


def _model_name(name: str) -> str:
    refused = any(character in FORBIDDEN_IN_MODEL_NAMES for character in name)
    control = any(unicodedata.category(character) == "Cc" for character in name)
    if refused or control or name.startswith(".") or name != name.strip():
        raise ValueError(MODEL_NAME_RULE)
    return name


def _calendar_date(text: str) -> str:
    datetime.date.fromisoformat(text)
    return text


ModelName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=200,
        description="Name of the registered model in MLflow; without slash, colon, question mark and quotes.",
        json_schema_extra={
            "x-kubernetes-validations": [
                {
                    "rule": f"self.matches(r'''{MODEL_NAME_PATTERN}''')",
                    "message": MODEL_NAME_RULE,
                }
            ]
        },
    ),
    AfterValidator(_model_name),
]
Date = Annotated[
    str,
    Field(pattern="^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}$", json_schema_extra={"format": "date"}),
    AfterValidator(_calendar_date),
]


class ModelArchitecture(ResourceModel):
    """The network that the built-in trainer builds."""

    architecture: Annotated[
        str,
        Field(
            min_length=1,
            max_length=63,
            pattern=r"^[a-z0-9]([a-z0-9_-]*[a-z0-9])?$",
            description="Name of an architecture that the training image offers, such as hybrid_cnn_lstm.",
        ),
    ]
    parameters: Annotated[
        FreeFormObject | None,
        Field(description="Parameters of the architecture, such as hiddenSize; its defaults where absent."),
    ] = None


class TrainingData(ResourceModel):
    """Rows of one feature group, in order of time."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                {
                    "rule": "!has(self.startDate) || !has(self.endDate) || self.startDate <= self.endDate",
                    "message": "startDate must not be after endDate",
                },
                {
                    "rule": "!has(self.features) || !(self.label in self.features)",
                    "message": "the label must not be one of the features",
                },
            ]
        }
    )

    feature_group: Annotated[
        str,
        Field(
            min_length=1,
            max_length=128,
            pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
            description="Name of the feature group in the feature store.",
        ),
    ]
    features: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=128)]] | None,
        Field(
            min_length=1,
            max_length=512,
            description="Columns the model sees; every numeric column but the label where absent.",
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
        ),
    ] = None
    label: Annotated[
        str, Field(min_length=1, max_length=128, description="Column the model learns to predict.")
    ]
    start_date: Annotated[Date | None, Field(description="First date of the data, YYYY-MM-DD.")] = None
    end_date: Annotated[Date | None, Field(description="Last date of the data (inclusive), YYYY-MM-DD.")] = (
        None
    )
    window_length: Annotated[
        Integer,
        Field(ge=1, le=10000, description="How many consecutive rows, the newest last, make one sample."),
    ] = 20

    @model_validator(mode="after")
    def _dates_and_label(self) -> "TrainingData":
        if self.start_date and self.end_date and self.start_date > self.end_date:
            raise ValueError("startDate must not be after endDate")
        if self.features and self.label in self.features:
            raise ValueError("the label must not be one of the features")
        return self


class EarlyStopping(ResourceModel):
    """Stop when the validation loss no longer falls."""

    patience: Annotated[
        Integer, Field(ge=1, le=10000, description="Epochs without improvement before training stops.")
    ] = 10
    min_delta: Annotated[
        float, Field(ge=0, description="The least fall of the validation loss that counts.")
    ] = 0.0


class TrainingParameters(ResourceModel):
    """How the network is trained."""

    epochs: Annotated[Integer, Field(ge=1, le=100000, description="The most epochs to train.")] = 50
    batch_size: Annotated[Integer, Field(ge=1, le=1048576, description="Samples in one batch.")] = 64
    learning_rate: Annotated[float, Field(gt=0, le=10, description="Learning rate of the optimizer.")] = 0.001
    optimizer: Annotated[
        Literal["AdamW", "Adam", "SGD"], Field(description="Optimizer, by its name in PyTorch.")
    ] = "AdamW"
    weight_decay: Annotated[float, Field(ge=0, le=10, description="Weight decay of the optimizer.")] = 0.0
    seed: Annotated[Integer, Field(ge=0, le=4294967295, description="Seed of every random generator.")] = 42
    early_stopping: Annotated[
        EarlyStopping | None,
        Field(description="Stop when the validation loss no longer falls; never early where absent."),
    ] = None


class Validation(ResourceModel):
    """How the rows are held out: the oldest train, newer ones validate, the newest test."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                {
                    "rule": "self.validationFraction + self.testFraction < 1.0",
                    "message": "validationFraction and testFraction together must leave rows to train on",
                }
            ]
        }
    )

    validation_fraction: Annotated[
        float, Field(gt=0, lt=1, description="Share of the rows that choose the best epoch.")
    ] = 0.15
    test_fraction: Annotated[
        float, Field(gt=0, lt=1, description="Share of the rows, the newest, that only test.")
    ] = 0.2
    embargo: Annotated[
        Integer,
        Field(
            ge=0,
            le=100000,
            description="Rows dropped before each held-out part, at least as many as the label looks ahead.",
        ),
    ] = 0

    @model_validator(mode="after")
    def _rows_remain(self) -> "Validation":
        if self.validation_fraction + self.test_fraction >= 1.0:
            raise ValueError("validationFraction and testFraction together must leave rows to train on")
        return self


class Promotion(ResourceModel):
    """What becomes of the registered version."""

    auto: Annotated[
        bool, Field(description="Whether the version claims its stage as soon as its gates pass.")
    ] = True
    stage: Annotated[
        Literal["Staging", "Production"], Field(description="The stage that the version claims.")
    ] = "Production"
    gates: GateList = Field(default_factory=list)


class TrainingJobSpec(ResourceModel):
    """Desired state of a TrainingJob; immutable once created."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                {
                    "rule": "has(self.model) == has(self.data)",
                    "message": MODEL_WITHOUT_DATA,
                },
                {
                    "rule": "has(self.model) || has(self.command) || has(self.image)",
                    "message": NOTHING_TO_RUN,
                },
                {
                    "rule": "!has(self.volumeMounts) || self.volumeMounts.all(m, has(self.volumes)"
                    " && self.volumes.exists(v, v.name == m.name))",
                    "message": UNKNOWN_VOLUME,
                },
            ]
        }
    )

    model_name: ModelName
    model: Annotated[ModelArchitecture | None, Field(description="The network of the built-in trainer.")] = (
        None
    )
    data: Annotated[TrainingData | None, Field(description="What the built-in trainer learns from.")] = None
    training: Annotated[TrainingParameters, Field(description="How the network is trained.")] = (
        TrainingParameters()
    )
    validation: Annotated[Validation, Field(description="How rows are held out.")] = Validation()
    promotion: Annotated[Promotion, Field(description="What becomes of the registered version.")] = (
        Promotion()
    )
    image: Annotated[
        str | None,
        Field(min_length=1, max_length=500, description="Container image; by default the trainer's."),
    ] = None
    command: Annotated[
        list[Annotated[str, Field(max_length=32768)]] | None,
        Field(
            min_length=1,
            max_length=64,
            description="Program to run; the built-in trainer or the image's own where absent.",
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
        ),
    ] = None
    args: Annotated[
        list[Annotated[str, Field(max_length=32768)]] | None,
        Field(
            max_length=256,
            description="Arguments of the program.",
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
        ),
    ] = None
    env: Annotated[
        list[EnvVar] | None,
        Field(
            max_length=128,
            description="Environment variables of the training container.",
        ),
        UniqueBy("name"),
    ] = None
    env_from: Annotated[
        list[EnvFromSource] | None,
        Field(
            max_length=32,
            description="Secrets and ConfigMaps whose keys become environment variables.",
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
        ),
    ] = None
    volumes: Annotated[
        list[Volume] | None,
        Field(
            max_length=32,
            description="Volumes of the training pod, as in a pod.",
        ),
        UniqueBy("name"),
    ] = None
    volume_mounts: Annotated[
        list[VolumeMount] | None,
        Field(
            max_length=32,
            description="Where the volumes appear in the training container.",
        ),
        UniqueBy("mount_path"),
    ] = None
    resources_per_node: Annotated[
        ResourceRequirements | None, Field(description="Compute resources of each training pod.")
    ] = None
    node_selector: Annotated[
        Annotated[dict[str, Annotated[str, Field(max_length=63)]], WithoutNulls] | None,
        Field(max_length=32, description="Labels a node must have."),
    ] = None
    tolerations: Annotated[
        list[Toleration] | None,
        Field(
            max_length=32,
            description="Taints that the pods tolerate.",
            json_schema_extra={"x-kubernetes-list-type": "atomic"},
        ),
    ] = None
    service_account_name: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=253,
            description="ServiceAccount of the training pod; the namespace's default where absent. "
            "Its token is not mounted: training needs no access to Kubernetes.",
        ),
    ] = None
    backoff_limit: Annotated[
        Integer, Field(ge=0, le=1000, description="Retries before the TrainingJob fails.")
    ] = 2
    active_deadline_seconds: Annotated[
        Integer | None,
        Field(ge=1, le=2147483647, description="Seconds after its start when the training is stopped."),
    ] = None

    @model_validator(mode="after")
    def _something_to_run(self) -> "TrainingJobSpec":
        if (self.model is None) != (self.data is None):
            raise ValueError(MODEL_WITHOUT_DATA)
        if self.model is None and self.command is None and self.image is None:
            raise ValueError(NOTHING_TO_RUN)
        return self

    @model_validator(mode="after")
    def _mounted_volumes_exist(self) -> "TrainingJobSpec":
        volumes = {volume.name for volume in self.volumes or ()}
        if not volumes.issuperset(mount.name for mount in self.volume_mounts or ()):
            raise ValueError(UNKNOWN_VOLUME)
        return self


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
        Integer | None, Field(ge=0, le=100, description="Share of the epochs done.")
    ] = None
    estimated_remaining_seconds: Annotated[
        Integer | None, Field(ge=0, description="Seconds left if every epoch takes as long as the last ones.")
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


Phase = Literal["Pending", "Running", "Registering", "Succeeded", "Failed"]


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
    attempts: Annotated[Integer | None, Field(ge=0, description="Pods started for the training.")] = None
    job_name: Annotated[str | None, Field(description="Name of the child batch/v1 Job.")] = None
    trainer_status: Annotated[TrainerStatus | None, Field(description="How far the training is.")] = None
    mlflow: Annotated[MlflowRun | None, Field(description="The MLflow run of the training.")] = None
    model_version_ref: Annotated[
        ModelVersionReference | None, Field(description="The ModelVersion that came out.")
    ] = None


class TrainingJob(ResourceModel):
    """Trains one model once, registers it in MLflow as a new version and asks for its stage."""

    # Rules at the root, not on the spec: a RetrainingPolicy's template holds the same spec and may change.
    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                {
                    "rule": "self.spec == oldSelf.spec",
                    "message": "spec is immutable: delete the TrainingJob and apply it again, "
                    "or use another name",
                    "fieldPath": ".spec",
                },
                {
                    "rule": f"size(self.metadata.name) <= {MAX_NAME_LENGTH}",
                    "message": NAME_TOO_LONG,
                },
            ]
        },
    )

    api_version: Literal["mlinfra.io/v1alpha1"] = API_VERSION
    kind: Literal["TrainingJob"] = "TrainingJob"
    metadata: ObjectMeta
    spec: TrainingJobSpec
    status: TrainingJobStatus = Field(default_factory=TrainingJobStatus)

    @model_validator(mode="after")
    def _name_fits(self) -> "TrainingJob":
        if len(self.metadata.name) > MAX_NAME_LENGTH:
            raise ValueError(NAME_TOO_LONG)
        return self
