"""``mlinfra train`` and ``train_model.py``: train on this machine, without Kubernetes.

Only what prints is imported up front: PyTorch and MLflow take seconds, and something shows meanwhile.
"""

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from mlinfra.errors import InvalidInputError, MlinfraError

if TYPE_CHECKING:
    from mlinfra.training.config import TrainingConfig
    from mlinfra.training.local import Registration

EXIT_ERROR = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks for; None means the default."""

    epochs: int
    learning_rate: float
    batch_size: int
    seed: int
    patience: int
    architecture: str
    parameters: tuple[str, ...]
    window: int
    feature_group: str | None
    label: str | None
    features: tuple[str, ...]
    start_date: str | None
    end_date: str | None
    embargo: int | None
    model_name: str | None
    register: bool
    promote: bool
    min_accuracy: float


def train(
    epochs: Annotated[int, typer.Option(help="The most epochs to train.")] = 50,
    learning_rate: Annotated[float, typer.Option("--lr", "--learning-rate", help="Learning rate.")] = 0.001,
    batch_size: Annotated[int, typer.Option(help="Samples in one batch.")] = 64,
    seed: Annotated[int, typer.Option(help="Seed of every random generator.")] = 42,
    patience: Annotated[
        int, typer.Option(help="Epochs without improvement before training stops; 0 trains them all.")
    ] = 10,
    architecture: Annotated[str, typer.Option(help="Kind of network.")] = "hybrid_cnn_lstm",
    parameter: Annotated[
        list[str] | None, typer.Option(help="Parameter of the network, such as hiddenSize=64; may repeat.")
    ] = None,
    window: Annotated[int, typer.Option(help="Consecutive rows that make one sample.")] = 20,
    feature_group: Annotated[
        str | None, typer.Option(help="Feature group to learn from; example data where absent.")
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="Column to predict; needed with a feature group of your own.")
    ] = None,
    feature: Annotated[
        list[str] | None,
        typer.Option(help="Column the network sees; may repeat; all numeric ones if absent."),
    ] = None,
    start_date: Annotated[str | None, typer.Option(help="First date, YYYY-MM-DD.")] = None,
    end_date: Annotated[str | None, typer.Option(help="Last date, YYYY-MM-DD.")] = None,
    embargo: Annotated[
        int | None,
        typer.Option(help="Rows dropped before each held-out part: how far the label looks ahead."),
    ] = None,
    model_name: Annotated[
        str | None, typer.Option(help="Registered model in MLflow; the architecture's name where absent.")
    ] = None,
    register: Annotated[bool, typer.Option(help="Register a new version of the model.")] = True,
    promote: Annotated[bool, typer.Option(help="Bring it to Production where it is good enough.")] = True,
    min_accuracy: Annotated[float, typer.Option(help="The least test accuracy that is good enough.")] = 0.80,
    experiment: Annotated[str | None, typer.Option(help="MLflow experiment of the run.")] = None,
    tracking_uri: Annotated[
        str | None,
        typer.Option(envvar="MLFLOW_TRACKING_URI", help="Where MLflow runs; a local file if absent."),
    ] = None,
) -> None:
    """Train a model on this machine, into a local MLflow store.

    Without --feature-group it learns from the first of the example data that `mlinfra datasets list` shows.
    The oldest rows train, newer ones choose the best epoch, the newest test.

    Exit codes: 0 trained, 1 error, 2 bad input, 130 interrupted.
    """
    started = time.perf_counter()
    options = Options(
        epochs=epochs,
        learning_rate=learning_rate,
        batch_size=batch_size,
        seed=seed,
        patience=patience,
        architecture=architecture,
        parameters=tuple(parameter or ()),
        window=window,
        feature_group=feature_group,
        label=label,
        features=tuple(feature or ()),
        start_date=start_date,
        end_date=end_date,
        embargo=embargo,
        model_name=model_name,
        register=register,
        promote=promote,
        min_accuracy=min_accuracy,
    )
    console = Console()
    try:
        _run(console, options, experiment=experiment, tracking_uri=tracking_uri, started=started)
    except MlinfraError as error:
        Console(stderr=True).print(
            f"[bold red]error:[/] {_escaped(str(error))}", highlight=False, soft_wrap=True
        )
        raise typer.Exit(EXIT_BAD_INPUT if isinstance(error, InvalidInputError) else EXIT_ERROR) from error
    except KeyboardInterrupt:
        console.print("Interrupted; the run is marked as failed.")
        raise typer.Exit(EXIT_INTERRUPTED) from None


def main() -> None:
    """The command of train_model.py."""
    typer.run(train)


def training_config(options: Options) -> "TrainingConfig":
    """The configuration that the options and the defaults amount to.

    Raises:
        InvalidConfigError: a value is out of bounds, or the label is not given.
    """
    from mlinfra.resources.built_in_training import TrainingData, Validation
    from mlinfra.training.config import (
        InvalidConfigError,
        ModelConfig,
        TrainerConfig,
        TrainingConfig,
        checked,
    )
    from mlinfra.training.local import example_data

    example, example_validation = example_data()
    own_data = options.feature_group not in (None, example.feature_group)
    if own_data and options.label is None:
        raise InvalidConfigError(f"--label: name the column of {options.feature_group} to predict.")
    embargo = options.embargo
    if embargo is None:
        embargo = 0 if own_data else example_validation.embargo
    return TrainingConfig(
        data=checked(
            TrainingData,
            {
                "feature_group": options.feature_group or example.feature_group,
                "label": options.label or example.label,
                "features": list(options.features) or None,
                "start_date": options.start_date,
                "end_date": options.end_date,
                "window_length": options.window,
            },
        ),
        model=checked(
            ModelConfig,
            {"architecture": options.architecture, "parameters": _parameters(options.parameters)},
        ),
        training=checked(
            TrainerConfig,
            {
                "epochs": options.epochs,
                "batch_size": options.batch_size,
                "learning_rate": options.learning_rate,
                "seed": options.seed,
                "early_stopping": {"patience": options.patience or options.epochs},
            },
        ),
        validation=checked(Validation, {"embargo": embargo}),
    )


def registration(options: Options) -> "Registration":
    """What shall become of the model."""
    from mlinfra.training.local import Registration

    return Registration(
        model_name=options.model_name or options.architecture,
        register=options.register,
        auto_promote=options.promote,
        min_accuracy=options.min_accuracy,
    )


def _run(
    console: Console, options: Options, *, experiment: str | None, tracking_uri: str | None, started: float
) -> None:
    from mlinfra.cli.training_view import TrainingView, result_table, where_to_look

    loading = "Loading PyTorch and MLflow ..."
    if not console.is_terminal:
        console.print(loading)
    with console.status(loading):
        from mlinfra.training.local import train_locally

        config = training_config(options)
    with TrainingView(console, title=config.model.architecture, epochs=config.training.epochs) as view:
        training = train_locally(
            config,
            registration(options),
            on_progress=view.show,
            on_step=view.show_step,
            tracking_uri=tracking_uri,
            experiment_name=experiment,
        )
    console.print(result_table(training, min_accuracy=options.min_accuracy))
    seconds = " · ".join(f"{name} {value:.1f}" for name, value in training.seconds.items())
    total = time.perf_counter() - started
    console.print(f"{total:.1f} s in all: {seconds}", style="dim", highlight=False, soft_wrap=True)
    console.print(where_to_look(training.tracking_uri), highlight=False, soft_wrap=True)


def _parameters(assignments: tuple[str, ...]) -> dict[str, Any]:
    from mlinfra.training.config import InvalidConfigError

    parameters: dict[str, Any] = {}
    for assignment in assignments:
        name, separator, value = assignment.partition("=")
        if not separator or not name:
            raise InvalidConfigError(f"--parameter: write NAME=VALUE, not {assignment!r}.")
        try:
            parameters[name] = json.loads(value)
        except json.JSONDecodeError:
            parameters[name] = value
    return parameters


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
