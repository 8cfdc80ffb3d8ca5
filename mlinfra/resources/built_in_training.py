"""What the built-in trainer is told: network, rows, how to train, what to hold out."""

import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from mlinfra.resources.base import Integer, ResourceModel
from mlinfra.resources.pod import FreeFormObject

STEP_SIZE_OF_ANOTHER = "stepSize belongs to the scheduler StepLR"
GAMMA_OF_ANOTHER = "gamma belongs to the schedulers StepLR and ExponentialLR"
SECOND_WARM_UP = "OneCycleLR warms up by itself: leave warmupEpochs out"
NO_ROWS_TO_TRAIN_ON = "validationFraction and testFraction together must leave rows to train on"
NOT_A_WALK = "folds, window and windowSize belong to the strategy WalkForward"
SIZE_OF_NO_WINDOW = "windowSize belongs to window Sliding"


def _calendar_date(text: str) -> str:
    datetime.date.fromisoformat(text)
    return text


Date = Annotated[
    str,
    Field(pattern="^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}$", json_schema_extra={"format": "date"}),
    AfterValidator(_calendar_date),
]


Task = Literal["Classification", "Regression"]
INT8_WITHOUT_ONNX = "int8 is a copy of the ONNX graph: leave onnx on, or int8 off"
ClassWeights = Literal["None", "Balanced"]


SNAPSHOT_WITH_DATES = "a snapshot says which rows there are: leave out startDate, endDate and lastDays"
TWO_BEGINNINGS = "either startDate or lastDays says where the rows begin"


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
                {
                    "rule": "!has(self.snapshot)"
                    " || !(has(self.startDate) || has(self.endDate) || has(self.lastDays))",
                    "message": SNAPSHOT_WITH_DATES,
                },
                {
                    "rule": "!has(self.startDate) || !has(self.lastDays)",
                    "message": TWO_BEGINNINGS,
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
    task: Annotated[
        Task,
        Field(description="What the label is: a class (whole numbers, booleans or strings) or a value."),
    ] = "Classification"
    start_date: Annotated[Date | None, Field(description="First date of the data, YYYY-MM-DD.")] = None
    end_date: Annotated[Date | None, Field(description="Last date of the data (inclusive), YYYY-MM-DD.")] = (
        None
    )
    last_days: Annotated[
        Integer | None,
        Field(
            ge=1,
            le=100_000,
            description="Only the rows of so many days up to the newest one, or to endDate: what a policy "
            "trains again on moves with the data.",
        ),
    ] = None
    snapshot: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=128,
            pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
            description="ID or name of a snapshot in the feature store: learn from its rows, whatever was "
            "written since. The run of a training names the snapshot of the rows it learnt from in the tag "
            "mlinfra.io/feature-snapshot.",
        ),
    ] = None
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
        if self.snapshot and (self.start_date or self.end_date or self.last_days):
            raise ValueError(SNAPSHOT_WITH_DATES)
        if self.start_date and self.last_days:
            raise ValueError(TWO_BEGINNINGS)
        return self


class EarlyStopping(ResourceModel):
    """Stop when a validation metric no longer improves."""

    patience: Annotated[
        Integer, Field(ge=1, le=10000, description="Epochs without improvement before training stops.")
    ] = 10
    min_delta: Annotated[
        float, Field(ge=0, description="The least improvement of the metric that counts.")
    ] = 0.0
    metric: Annotated[
        str,
        Field(
            min_length=5,
            max_length=63,
            pattern="^val_[a-z0-9_]+$",
            description="Validation metric that chooses the best epoch, such as val_accuracy; "
            "which direction is better follows from the metric.",
        ),
    ] = "val_loss"


class LearningRateScheduler(ResourceModel):
    """How the learning rate changes while the network is trained."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                {
                    "rule": "!has(self.stepSize) || self.name == 'StepLR'",
                    "message": STEP_SIZE_OF_ANOTHER,
                },
                {
                    "rule": "!has(self.gamma) || self.name in ['StepLR', 'ExponentialLR']",
                    "message": GAMMA_OF_ANOTHER,
                },
                {
                    "rule": "self.warmupEpochs == 0 || self.name != 'OneCycleLR'",
                    "message": SECOND_WARM_UP,
                },
            ]
        }
    )

    name: Annotated[
        Literal["CosineAnnealingLR", "OneCycleLR", "StepLR", "ExponentialLR"],
        Field(
            description="Scheduler, by its name in PyTorch. OneCycleLR moves with each batch and has "
            "learningRate as its peak, the others move with each epoch."
        ),
    ]
    warmup_epochs: Annotated[
        Integer,
        Field(ge=0, le=10000, description="Epochs in which the rate first rises to learningRate, linearly."),
    ] = 0
    step_size: Annotated[
        Integer | None,
        Field(ge=1, le=100000, description="Epochs between two steps of StepLR; 10 where absent."),
    ] = None
    gamma: Annotated[
        float | None,
        Field(
            gt=0,
            le=1,
            description="Factor of each step; where absent 0.1 for StepLR and 0.95 for ExponentialLR.",
        ),
    ] = None

    @model_validator(mode="after")
    def _fields_of_this_scheduler(self) -> "LearningRateScheduler":
        if self.step_size is not None and self.name != "StepLR":
            raise ValueError(STEP_SIZE_OF_ANOTHER)
        if self.gamma is not None and self.name not in ("StepLR", "ExponentialLR"):
            raise ValueError(GAMMA_OF_ANOTHER)
        if self.warmup_epochs and self.name == "OneCycleLR":
            raise ValueError(SECOND_WARM_UP)
        return self


class TrainingParameters(ResourceModel):
    """How the network is trained."""

    epochs: Annotated[Integer, Field(ge=1, le=100000, description="The most epochs to train.")] = 50
    batch_size: Annotated[Integer, Field(ge=1, le=1048576, description="Samples in one batch.")] = 64
    learning_rate: Annotated[float, Field(gt=0, le=10, description="Learning rate of the optimizer.")] = 0.001
    optimizer: Annotated[
        Literal["AdamW", "Adam", "SGD"], Field(description="Optimizer, by its name in PyTorch.")
    ] = "AdamW"
    weight_decay: Annotated[float, Field(ge=0, le=10, description="Weight decay of the optimizer.")] = 0.0
    class_weights: Annotated[
        ClassWeights,
        Field(
            description="Balanced: every class counts the same in the loss, however rare it is. "
            "None: every sample does."
        ),
    ] = "None"
    seed: Annotated[Integer, Field(ge=0, le=4294967295, description="Seed of every random generator.")] = 42
    scheduler: Annotated[
        LearningRateScheduler | None,
        Field(description="How the learning rate changes; it stays the same where absent."),
    ] = None
    gradient_clip_norm: Annotated[
        float | None,
        Field(gt=0, description="Greatest norm of all gradients together; not limited where absent."),
    ] = None
    precision: Annotated[
        Literal["Auto", "FP32", "BF16", "FP16"],
        Field(
            description="Number format of the training's matrix products. BF16 and FP16 are automatic mixed "
            "precision; Auto is BF16 on a GPU that has it, else FP32."
        ),
    ] = "Auto"
    early_stopping: Annotated[
        EarlyStopping | None,
        Field(description="Stop when a validation metric no longer improves; never early where absent."),
    ] = None


class Validation(ResourceModel):
    """How the rows are held out: the oldest train, newer ones validate, the newest test."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                {
                    "rule": "self.validationFraction + self.testFraction < 1.0",
                    "message": NO_ROWS_TO_TRAIN_ON,
                },
                {
                    "rule": "self.strategy == 'WalkForward'"
                    " || !(has(self.folds) || has(self.window) || has(self.windowSize))",
                    "message": NOT_A_WALK,
                },
                {
                    "rule": "!has(self.windowSize) || (has(self.window) && self.window == 'Sliding')",
                    "message": SIZE_OF_NO_WINDOW,
                },
            ]
        }
    )

    strategy: Annotated[
        Literal["Holdout", "WalkForward"],
        Field(
            description="Holdout trains once. WalkForward cuts the test rows into blocks and trains "
            "anew for each on what came before; the newest block's model is the result."
        ),
    ] = "Holdout"
    folds: Annotated[
        Integer | None,
        Field(
            ge=1,
            le=100,
            description="Blocks of the test rows in WalkForward, each tested once; 5 where absent.",
        ),
    ] = None
    window: Annotated[
        Literal["Expanding", "Sliding"] | None,
        Field(
            description="What a fold trains on: all that came before (Expanding, the default), "
            "or the newest windowSize of it (Sliding)."
        ),
    ] = None
    window_size: Annotated[
        Integer | None,
        Field(
            ge=1,
            le=1000000000,
            description="Distinct times that a fold trains on with window Sliding; as many as the first fold "
            "could have where absent.",
        ),
    ] = None
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
            raise ValueError(NO_ROWS_TO_TRAIN_ON)
        return self

    @model_validator(mode="after")
    def _fields_of_this_strategy(self) -> "Validation":
        walk = (self.folds, self.window, self.window_size)
        if self.strategy != "WalkForward" and any(value is not None for value in walk):
            raise ValueError(NOT_A_WALK)
        if self.window_size is not None and self.window != "Sliding":
            raise ValueError(SIZE_OF_NO_WINDOW)
        return self


class Export(ResourceModel):
    """In which forms the trained model is kept."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                {"rule": "self.onnx || !self.int8", "message": INT8_WITHOUT_ONNX},
            ]
        }
    )

    onnx: Annotated[
        bool,
        Field(
            description="Keep the model as an ONNX graph, which can be served; its weights only where false."
        ),
    ] = True
    int8: Annotated[
        bool,
        Field(
            description="Also keep a copy of the graph with 8-bit weights, and measure what it costs; "
            "the version that is registered and served stays the full one."
        ),
    ] = False

    @model_validator(mode="after")
    def _copy_of_a_graph(self) -> "Export":
        if self.int8 and not self.onnx:
            raise ValueError(INT8_WITHOUT_ONNX)
        return self


class Checkpoint(ResourceModel):
    """Where the state of a training is kept, so that a pod that is stopped or lost goes on from there."""

    storage_uri: Annotated[
        str,
        Field(
            min_length=2,
            max_length=1024,
            pattern="^(file:///|s3://[!-.0-~]|/)[!-~]*$",
            description="Folder for checkpoints: file:///path of a mounted volume, or s3://bucket/path. "
            "Each run has a folder of its own below it.",
        ),
    ]
    every_epochs: Annotated[
        Integer,
        Field(
            ge=1,
            le=100000,
            description="Epochs between two checkpoints. There is one more when a pod is stopped.",
        ),
    ] = 1
    keep_last: Annotated[
        Integer, Field(ge=1, le=1000, description="How many checkpoints of a run are kept, the newest.")
    ] = 2
