"""``mlinfra runs``: list and compare MLflow runs, and bring there what a crash or an outage kept back."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from mlinfra.cli.output import console as output_console
from mlinfra.cli.running import EXIT_ERROR, expected_errors

if TYPE_CHECKING:
    from mlinfra.tracking.comparison import RunComparison
    from mlinfra.tracking.replay import Leftover

app = typer.Typer(help="Runs in MLflow: list, compare, sync.", no_args_is_help=True)

TrackingUri = Annotated[
    str | None,
    typer.Option(envvar="MLFLOW_TRACKING_URI", help="Where MLflow runs; a local file if absent."),
]
ExperimentName = Annotated[str | None, typer.Option("--experiment", help="Runs of this experiment only.")]
ModelName = Annotated[
    str | None, typer.Option("--model", help="Runs of this registered model's versions only.")
]
MaxRuns = Annotated[int, typer.Option("--max", min=1, help="How many of the newest runs.")]
LEAST_WIDTHS = {"run": 32, "status": 8}
LIST_METRICS = ("test_accuracy", "val_accuracy", "test_mae", "val_mae")


@app.command("list")
def list_runs(
    experiment: ExperimentName = None,
    model: ModelName = None,
    max_runs: MaxRuns = 20,
    tracking_uri: TrackingUri = None,
) -> None:
    """List the newest runs, with how good they became."""
    with expected_errors():
        from mlinfra.tracking import compare_runs

        table = compare_runs(
            experiment=experiment, model=model, max_runs=max_runs, params=(), tracking_uri=tracking_uri
        ).table
    metrics = [f"metrics.{name}" for name in LIST_METRICS if f"metrics.{name}" in table.columns]
    shown = Table(box=None)
    for column in ("run", "name", "status", "started", *(name.removeprefix("metrics.") for name in metrics)):
        # The ID is what `mlinfra runs compare` takes: the others give way in a narrow terminal.
        shown.add_column(column.upper(), no_wrap=True, min_width=LEAST_WIDTHS.get(column))
    for run_id, row in table.iterrows():
        started = f"{row['started']:%Y-%m-%d %H:%M}"
        measured = (told(row[name]) for name in metrics)
        shown.add_row(str(run_id), str(row["name"]), str(row["status"]), started, *measured)
    output_console().print(shown if len(table) else "No runs.")


@app.command()
def compare(
    run_ids: Annotated[list[str] | None, typer.Argument(help="IDs of runs; else the newest.")] = None,
    experiment: ExperimentName = None,
    model: ModelName = None,
    metric: Annotated[
        list[str] | None, typer.Option(help="Metric to show; may repeat; all if absent.")
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option(help="Parameter to show; may repeat; those that differ if absent."),
    ] = None,
    max_runs: MaxRuns = 5,
    plot: Annotated[
        Path | None, typer.Option(help="Image to draw the metrics into, such as runs.png.")
    ] = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Show runs side by side: parameters in which they differ, and metrics."""
    with expected_errors():
        from mlinfra.tracking import compare_runs

        comparison = compare_runs(
            run_ids or None,
            experiment=experiment,
            model=model,
            metrics=metric or None,
            params=param or None,
            max_runs=max_runs,
            tracking_uri=tracking_uri,
        )
        console = output_console()
        console.print(comparison_table(comparison))
        if plot is not None:
            save_plot(comparison, plot, metric or None)
            console.print(f"Plot: {plot}", highlight=False, soft_wrap=True)


@app.command()
def sync(tracking_uri: TrackingUri = None) -> None:
    """Write to MLflow what a crash or an outage kept back of earlier runs.

    Exit codes: 0 all is written, 1 something stays.
    """
    from mlinfra.tracking.replay import leftovers
    from mlinfra.tracking.spool import spool_root

    console = Console(soft_wrap=True, highlight=False)
    failed = found = 0
    for leftover in leftovers(spool_root()):
        found += 1
        failed += not _sync(leftover, tracking_uri, console)
    if not found:
        console.print("Nothing waits.")
    if failed:
        raise typer.Exit(EXIT_ERROR)


def comparison_table(comparison: "RunComparison") -> Table:
    """A column for each run."""
    table = Table(box=None)
    table.add_column("", style="bold", no_wrap=True)
    for label in comparison.labels():
        table.add_column(label, overflow="fold")
    table.add_row("run", *map(str, comparison.table.index))
    for name in comparison.table.columns:
        table.add_row(name, *(told(value) for value in comparison.table[name]))
    return table


def told(value: Any) -> str:
    """A cell: numbers with four digits, times to the minute."""
    if isinstance(value, float):
        return "" if value != value else f"{value:.4g}"
    if hasattr(value, "strftime"):
        return f"{value:%Y-%m-%d %H:%M}"
    return "" if value is None else str(value)


def save_plot(comparison: "RunComparison", path: Path, metrics: list[str] | None) -> None:
    """Draw the comparison into a file; its ending tells the format.

    Raises:
        InvalidInputError: the file cannot be written, or in no such format.
    """
    from mlinfra.errors import InvalidInputError

    try:
        comparison.plot(metrics).savefig(path)
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"--plot {path}: {error}") from error


def _sync(leftover: "Leftover", tracking_uri: str | None, console: Console) -> bool:
    from mlinfra.errors import MlinfraError
    from mlinfra.tracking.connection import connect, lasting_uri
    from mlinfra.tracking.replay import replay

    run = leftover.run
    # The place that is named may carry a password, which no file keeps.
    uri = tracking_uri if tracking_uri and lasting_uri(tracking_uri) == run.tracking_uri else run.tracking_uri
    try:
        count = replay(connect(uri), leftover)
    except MlinfraError as error:
        console.print(f"run {run.run_id}: {error} It stays in {leftover.folder}.", markup=False)
        return False
    console.print(f"run {run.run_id}: {count} metrics written to {run.tracking_uri}", markup=False)
    return True
