"""``mlinfra demo-drift``: the options; what it does is `mlinfra.cli.drift_demonstration`."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from mlinfra.cli.cluster import Name, StateDir, cluster_state
from mlinfra.local.state import DEFAULT_NAME

TEMPLATE = Path("examples/backtest_training.yaml")


def demo_drift(
    file: Annotated[
        Path, typer.Option("--file", "-f", help="TrainingJob whose spec trains each version.")
    ] = TEMPLATE,
    train_until: Annotated[
        datetime,
        typer.Option(
            formats=["%Y-%m-%d"], help="Date that the first version learns up to; later is traffic."
        ),
    ] = datetime(2003, 12, 31),
    until: Annotated[
        datetime, typer.Option(formats=["%Y-%m-%d"], help="Last date of the traffic.")
    ] = datetime(2012, 12, 31),
    window_rows: Annotated[
        int, typer.Option(min=10, max=10_000, help="Rows in a window of the policy's checks.")
    ] = 100,
    yearly: Annotated[bool, typer.Option(help="Compare with training each year, by the backtest.")] = True,
    plot: Annotated[
        Path | None,
        typer.Option(
            help="Where the plot goes: .svg, .png or .pdf.",
            dir_okay=False,
            show_default="demo_drift.svg in the cluster's folder",
        ),
    ] = None,
    name: Name = DEFAULT_NAME,
    state_dir: StateDir = None,
) -> None:
    """Serve a model of the NASDAQ, replay the years in which it goes wrong, and see its policy mend it.

    What `mlinfra demo` starts is started where it does not run.
    """
    from mlinfra.cli.drift_report import demonstrate_drift

    if not demonstrate_drift(
        file,
        cluster_state(name, state_dir),
        train_until=train_until,
        until=until,
        window_rows=window_rows,
        with_yearly=yearly,
        plot=plot,
    ):
        raise typer.Exit(1)
