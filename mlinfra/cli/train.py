"""``mlinfra train`` and ``train_model.py``: train on this machine, without Kubernetes.

Only what prints is imported up front: PyTorch and MLflow take seconds, and something shows meanwhile.
"""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from mlinfra.cli.options import PLACES, Store
from mlinfra.cli.running import expected_errors
from mlinfra.cli.train_flags import (
    CONFIGURATION,
    DATA,
    NETWORK,
    RESULT,
    TRAINING,
    changes_of,
    told,
    with_spec_flags,
)

if TYPE_CHECKING:
    from mlinfra.resources.training_job import TrainingJobSpec

EXAMPLES = r"""[bold]Examples[/]

[dim]# the example data, at its defaults[/]
python train_model.py
python train_model.py --epochs 100 --lr 0.0001
[dim]# a TrainingJob, or its spec alone; flags win over the file[/]
python train_model.py --config train.yaml --epochs 5
[dim]# the same training on Kubernetes[/]
python train_model.py --epochs 5 --print-config | kubectl apply -f -

[bold]Exit codes[/]  0 trained · 1 error · 2 bad input · 130 interrupted"""


@with_spec_flags
def train(
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            help="YAML: a TrainingJob, or its spec. What neither it nor a flag says is as on Kubernetes.",
            rich_help_panel=CONFIGURATION,
        ),
    ] = None,
    print_config: Annotated[
        bool,
        typer.Option(
            "--print-config",
            help="Print what would be trained as a TrainingJob for kubectl, and train nothing.",
            rich_help_panel=CONFIGURATION,
        ),
    ] = False,
    feature_group: Annotated[
        str | None,
        typer.Option(
            help=told("Feature group to learn from.", "example data: see mlinfra datasets list"),
            rich_help_panel=DATA,
        ),
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            help="Parameter of the network, such as hiddenSize=64; may repeat.",
            metavar="NAME=VALUE",
            rich_help_panel=NETWORK,
        ),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            help=told("Epochs without improvement before training stops; 0 trains them all.", "10"),
            rich_help_panel=TRAINING,
        ),
    ] = None,
    register: Annotated[
        bool, typer.Option(help="Register a new version of the model.", rich_help_panel=RESULT)
    ] = True,
    promote: Annotated[
        bool | None,
        typer.Option(
            "--promote/--no-promote",
            help=told("Bring it to Production where it is good enough.", "promote"),
            rich_help_panel=RESULT,
        ),
    ] = None,
    min_accuracy: Annotated[
        float | None,
        typer.Option(
            help=told("The least test accuracy that is good enough.", "0.8"), rich_help_panel=RESULT
        ),
    ] = None,
    experiment: Annotated[
        str | None, typer.Option(help="MLflow experiment of the run.", rich_help_panel=PLACES)
    ] = None,
    tracking_uri: Annotated[
        str | None,
        typer.Option(
            envvar="MLFLOW_TRACKING_URI",
            help=told("Where MLflow runs.", "a local file, mlflow.db"),
            rich_help_panel=PLACES,
        ),
    ] = None,
    store: Store = None,
    **spec_flags: Any,
) -> None:
    """Train a model on this machine, test it, and bring it into MLflow and ONNX.

    The oldest rows train, newer ones choose the best epoch, the newest test.

    Without data of your own it learns from the first of the example data.
    """
    started = time.perf_counter()
    console = Console()
    with expected_errors():
        from mlinfra.cli.train_spec import Wishes, manifest_text, training_spec
        from mlinfra.training.config_file import read_config_file

        wishes = Wishes(
            file=read_config_file(config) if config else None,
            changes=tuple(changes_of(spec_flags)),
            feature_group=feature_group,
            parameters=tuple(parameter or ()),
            patience=patience,
            promote=promote,
            min_accuracy=min_accuracy,
        )
        spec = training_spec(wishes)
        if print_config:
            typer.echo(manifest_text(spec, wishes.file))
            return
        _train(
            console, spec, register=register, experiment=experiment, tracking_uri=tracking_uri, store=store
        )
        console.print(f"{time.perf_counter() - started:.1f} s in all", style="dim", highlight=False)


def main() -> None:
    """The command of train_model.py."""
    app = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)
    app.command(epilog=EXAMPLES)(train)
    app()


def _train(
    console: Console,
    spec: "TrainingJobSpec",
    *,
    register: bool,
    experiment: str | None,
    tracking_uri: str | None,
    store: str | None,
) -> None:
    from mlinfra.cli.train_spec import not_used_here
    from mlinfra.cli.training_view import TrainingView, result_tables, where_to_look

    if unused := not_used_here(spec):
        console.print(f"Not used on this machine: {', '.join(unused)}.", style="yellow", highlight=False)
    loading = "Loading PyTorch and MLflow ..."
    if not console.is_terminal:
        console.print(loading)
    with console.status(loading):
        from mlinfra.cli.train_spec import registration
        from mlinfra.features import get_feature_store
        from mlinfra.training.config import TrainingConfig
        from mlinfra.training.local import train_locally

        config = TrainingConfig.from_spec(spec)
        wanted = registration(spec, register=register)
    console.print(
        f"{config.model.architecture} learns {config.data.label} of {config.data.feature_group}",
        style="bold",
        highlight=False,
        soft_wrap=True,
    )
    with TrainingView(console, epochs=config.training.epochs) as view:
        training = train_locally(
            config,
            wanted,
            on_progress=view.show,
            on_step=view.show_step,
            store=get_feature_store(store),
            tracking_uri=tracking_uri,
            experiment_name=experiment,
        )
    console.print(result_tables(training))
    console.print(where_to_look(training.tracking_uri), highlight=False, soft_wrap=True)
