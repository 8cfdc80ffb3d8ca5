"""``mlinfra train`` and ``train_model.py``: train on this machine, without Kubernetes.

Only what prints is imported up front: PyTorch and MLflow take seconds, and something shows meanwhile.
"""

import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from mlinfra.cli import output
from mlinfra.cli.options import PLACES, Store
from mlinfra.cli.running import expected_errors, interrupt, interruptible
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
from mlinfra.training.interruption import Interruption

EXAMPLES = r"""[bold]Examples[/]

[dim]# the example data, at its defaults[/]
python train_model.py
python train_model.py --epochs 100 --lr 0.0001
[dim]# data of your own: a column of times, numbers to learn from, a label[/]
python train_model.py --data prices.parquet --label up --timestamp time
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
    data: Annotated[
        Path | None,
        typer.Option(
            help="Parquet or CSV file of your own: its columns become features, its rows a feature group.",
            metavar="FILE",
            rich_help_panel=DATA,
        ),
    ] = None,
    timestamp: Annotated[
        str | None,
        typer.Option(
            help=told("Column of the file that tells the event time.", "the column of times"),
            metavar="COLUMN",
            rich_help_panel=DATA,
        ),
    ] = None,
    entity: Annotated[
        str | None,
        typer.Option(
            help=told("Column of the file that tells whose row it is.", "the column of texts, if any"),
            metavar="COLUMN",
            rich_help_panel=DATA,
        ),
    ] = None,
    one_entity: Annotated[
        bool,
        typer.Option("--one-entity", help="All rows of the file are of one entity.", rich_help_panel=DATA),
    ] = False,
    feature_group: Annotated[
        str | None,
        typer.Option(
            help=told("Feature group to learn from.", "named after the file; without one example data"),
            metavar="NAME",
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
    processes: Annotated[
        int,
        typer.Option(
            min=1,
            help="Processes that train together, one for each GPU where there are.",
            rich_help_panel=TRAINING,
        ),
    ] = 1,
    checkpoint_every: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=told("Epochs between checkpoints, kept in data/checkpoints.", "none are written"),
            metavar="EPOCHS",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with the model's run whose checkpoint was written last.",
            rich_help_panel=TRAINING,
        ),
    ] = False,
    register: Annotated[
        bool, typer.Option(help="Register a new version of the model.", rich_help_panel=RESULT)
    ] = True,
    promote: Annotated[
        bool | None,
        typer.Option(
            "--promote/--no-promote",
            help=told("Bring it to its stage where it is good enough.", "promote"),
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
    console = output.console()
    interruption = Interruption(outside=interrupt)
    with expected_errors(), interruptible(console, interruption.request):
        from mlinfra.cli.train_spec import Wishes, headline, manifest_text, training_spec
        from mlinfra.training.config_file import read_config_file

        wishes = Wishes(
            file=read_config_file(config) if config else None,
            changes=tuple(changes_of(spec_flags)),
            data=data,
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
        console.print(headline(spec), style="bold", highlight=False, soft_wrap=True)
        with console.status("Loading the feature store ..."):
            from mlinfra.cli.train_run import HowToRun, OwnData, Places, run

        run(
            console,
            spec,
            own_data=OwnData(data, timestamp, entity, one_entity) if data else None,
            register=register,
            how=HowToRun(processes, checkpoint_every, resume, interruption),
            places=Places(store=store, tracking_uri=tracking_uri, experiment=experiment),
        )
        console.print(f"{time.perf_counter() - started:.1f} s in all", style="dim", highlight=False)


def main() -> None:
    """The command of train_model.py."""
    app = typer.Typer(add_completion=False, pretty_exceptions_show_locals=False)
    app.command(epilog=EXAMPLES)(train)
    try:
        app()
    except SystemExit as end:
        if "torch" not in sys.modules or not isinstance(end.code, int):
            raise
        sys.stdout.flush()
        sys.stderr.flush()
        # All is written by now, and to take apart what PyTorch and its exporter built takes seconds.
        os._exit(end.code)
