"""The flags of ``train`` that set one field of a TrainingJob's spec each.

Only their names are here: bounds are the spec's own, whose models take too long to load for a help text.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.markup import escape

from mlinfra.cli.options import PLACES

if TYPE_CHECKING:
    from mlinfra.training.config_file import Change

DATA = "Data"
NETWORK = "Network"
TRAINING = "Training"
VALIDATION = "Validation"
RESULT = "What becomes of the model"
CONFIGURATION = "Configuration"
PANELS = (CONFIGURATION, DATA, NETWORK, TRAINING, VALIDATION, RESULT, PLACES)
"""The groups of flags in the order of the help."""


Scheduler = Literal["CosineAnnealingLR", "OneCycleLR", "StepLR", "ExponentialLR"]


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag for a field.

    Attributes:
        path: the field, such as ``training.learningRate``.
        kind: type of the flag's value.
        panel: the group it is shown in.
        names: its names, the first counts in messages.
        help: what it does.
        default: what the field is where nobody says it.
        metavar: what stands for its value in the help; the type where absent.
    """

    path: str
    kind: Any
    panel: str
    names: tuple[str, ...]
    help: str
    default: str | None = None
    metavar: str | None = None

    @property
    def place(self) -> tuple[str, ...]:
        """The keys that lead to the field."""
        return tuple(self.path.split("."))

    @property
    def parameter_name(self) -> str:
        """Name of the function's parameter that holds its value."""
        return "spec_" + self.path.replace(".", "_")

    def parameter(self) -> inspect.Parameter:
        """The parameter by which typer learns of the flag; None where it is not given."""
        option = typer.Option(
            *self.names,
            help=told(self.help, self.default),
            rich_help_panel=self.panel,
            metavar=self.metavar,
            case_sensitive=False,
        )
        return inspect.Parameter(
            self.parameter_name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[self.kind | None, option],
        )


SPEC_FLAGS = (
    Flag("data.label", str, DATA, ("--label",),
         "Column the model learns to predict; needed with data of your own.", metavar="COLUMN"),
    Flag("data.task", Literal["Classification", "Regression"], DATA, ("--task",),
         "What the label is: Classification for classes, Regression for values.", "Classification", "TASK"),
    Flag("data.features", list[str], DATA, ("--feature",), "Column the model sees; may repeat.",
         "every numeric column but the label", "COLUMN"),
    Flag("data.startDate", str, DATA, ("--start-date",), "First date of the data.", metavar="YYYY-MM-DD"),
    Flag("data.endDate", str, DATA, ("--end-date",), "Last date of the data, included.",
         metavar="YYYY-MM-DD"),
    Flag("data.lastDays", int, DATA, ("--last-days",),
         "Only the rows of so many days up to the newest one, or to the last date."),
    Flag("data.snapshot", str, DATA, ("--snapshot",),
         "Snapshot of the feature store, by ID or name, to learn from instead of dates."),
    Flag("data.windowLength", int, DATA, ("--window",),
         "How many consecutive rows, the newest last, make one sample.", "20"),
    Flag("model.architecture", str, NETWORK, ("--architecture",), "Kind of network.", "hybrid_cnn_lstm"),
    Flag("training.epochs", int, TRAINING, ("--epochs",), "The most epochs to train.", "50"),
    Flag("training.learningRate", float, TRAINING, ("--lr", "--learning-rate"),
         "Learning rate of the optimizer.", "0.001"),
    Flag("training.batchSize", int, TRAINING, ("--batch-size",), "Samples in one batch.", "64"),
    Flag("training.optimizer", str, TRAINING, ("--optimizer",), "AdamW, Adam or SGD.", "AdamW"),
    Flag("training.weightDecay", float, TRAINING, ("--weight-decay",), "Weight decay of the optimizer.",
         "0.0"),
    Flag("training.classWeights", Literal["None", "Balanced"], TRAINING, ("--class-weights",),
         "Balanced: every class counts the same in the loss, however rare it is.", "None", "None|Balanced"),
    Flag("training.scheduler.name", Scheduler, TRAINING, ("--scheduler",),
         "How the learning rate changes: CosineAnnealingLR, OneCycleLR, StepLR or ExponentialLR.",
         metavar="NAME"),
    Flag("training.scheduler.warmupEpochs", int, TRAINING, ("--warmup-epochs",),
         "Epochs in which a scheduler first lets the rate rise."),
    Flag("training.gradientClipNorm", float, TRAINING, ("--gradient-clip-norm",),
         "Greatest norm of all gradients together."),
    Flag("training.precision", Literal["Auto", "FP32", "BF16", "FP16"], TRAINING, ("--precision",),
         "Number format: FP32, BF16, FP16, or Auto for BF16 where a GPU has it.", "Auto", "FORMAT"),
    Flag("training.earlyStopping.metric", str, TRAINING, ("--stopping-metric",),
         "Validation metric that chooses the best epoch, such as val_accuracy.", "val_loss", "METRIC"),
    Flag("training.seed", int, TRAINING, ("--seed",), "Seed of every random generator.", "42"),
    Flag("validation.strategy", Literal["Holdout", "WalkForward"], VALIDATION, ("--validation",),
         "Holdout trains once; WalkForward anew for each block of the test rows.", "Holdout", "STRATEGY"),
    Flag("validation.folds", int, VALIDATION, ("--folds",), "Blocks of the test rows in WalkForward."),
    Flag("validation.window", Literal["Expanding", "Sliding"], VALIDATION, ("--fold-window",),
         "A fold trains on all before it (Expanding) or the newest of it (Sliding).",
         metavar="WINDOW"),
    Flag("validation.validationFraction", float, VALIDATION, ("--validation-fraction",),
         "Share of the rows that choose the best epoch.", "0.15"),
    Flag("validation.testFraction", float, VALIDATION, ("--test-fraction",),
         "Share of the rows, the newest, that only test.", "0.2"),
    Flag("validation.embargo", int, VALIDATION, ("--embargo",),
         "Rows dropped before each held-out part, at least as many as the label looks ahead.",
         "0; 5 for example data"),
    Flag("export.onnx", bool, RESULT, ("--onnx/--no-onnx",), "Keep the model as an ONNX graph.", "onnx"),
    Flag("export.int8", bool, RESULT, ("--int8/--no-int8",),
         "Also keep a copy of the graph with 8-bit weights, and measure it.", "no-int8"),
    Flag("promotion.stage", Literal["Staging", "Production"], RESULT, ("--stage",),
         "Stage that the version takes where it is good enough.", "Production", "STAGE"),
    Flag("modelName", str, RESULT, ("--model-name",), "Registered model in MLflow.",
         "the feature group's name; the architecture's for example data", "NAME"),
)  # fmt: skip


def told(text: str, default: str | None) -> str:
    """A flag's help; typer would put the default of a flag that is None where absent in brackets twice."""
    return escape(text) + (rf" [dim]\[default: {escape(default)}][/]" if default else "")


def with_spec_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Let typer see `SPEC_FLAGS` in place of a command's ``**flags``."""
    own = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for parameter in inspect.signature(command).parameters.values()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    parameters = sorted([*(flag.parameter() for flag in SPEC_FLAGS), *own], key=_panel)
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return command


def changes_of(flags: Mapping[str, Any]) -> "Iterator[Change]":
    """What the flags that were given change in the spec."""
    from mlinfra.training.config_file import Change

    for flag in SPEC_FLAGS:
        value = flags[flag.parameter_name]
        if value is not None and value != []:
            yield Change(flag.place, value, flag.names[0])


def _panel(parameter: inspect.Parameter) -> int:
    return PANELS.index(parameter.annotation.__metadata__[0].rich_help_panel)
