"""``mlinfra demo``: the options; what it does is `mlinfra.cli.demonstration`."""

from pathlib import Path
from typing import Annotated

import typer

from mlinfra.cli.cluster import Name, StateDir, cluster_state
from mlinfra.local.state import DEFAULT_NAME

EXAMPLE = Path("examples/trainingjob.yaml")


def demo(
    file: Annotated[
        Path, typer.Option("--file", "-f", help="TrainingJob to apply; it learns from the S&P 500.")
    ] = EXAMPLE,
    name: Name = DEFAULT_NAME,
    state_dir: StateDir = None,
) -> None:
    """Start everything, train a model on the S&P 500's history, and follow it to Production."""
    from mlinfra.cli.demonstration import demonstrate

    if not demonstrate(file, cluster_state(name, state_dir)):
        raise typer.Exit(1)
