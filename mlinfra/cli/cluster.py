"""``mlinfra up``, ``status``, ``down``, ``kubectl``, ``kubeconfig``: the platform on this machine."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlinfra.cli.running import expected_errors, run
from mlinfra.local.state import DEFAULT_NAME, ClusterState, state_root

if TYPE_CHECKING:
    from mlinfra.local.cluster import LocalCluster

Name = Annotated[str, typer.Option(envvar="MLINFRA_CLUSTER", help="Name of the cluster.")]
StateDir = Annotated[
    Path | None,
    typer.Option(
        envvar="MLINFRA_STATE_DIR",
        help="Folder of all clusters' data.",
        show_default="~/.local/state/mlinfra",
    ),
]

EXIT_NOT_RUNNING = 3
NOT_ENFORCED = "memory and CPU limits, security contexts, network policies"


def cluster_state(name: str, state_dir: Path | None) -> ClusterState:
    """The state folder that the options name."""
    return ClusterState(state_dir.expanduser().absolute() if state_dir else state_root(), name)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(up)
    app.command()(status)
    app.command()(down)
    app.command()(kubeconfig)
    app.command(
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True}, add_help_option=False
    )(kubectl)


def up(
    name: Name = DEFAULT_NAME,
    state_dir: StateDir = None,
    gpus: Annotated[int, typer.Option(min=0, help="How many GPUs the node offers to pods.")] = 0,
) -> None:
    """Start a Kubernetes cluster without containers, MLflow and the operator; what runs is kept."""
    from rich.console import Console

    from mlinfra.cli.steps import Steps
    from mlinfra.local.cluster import LocalCluster
    from mlinfra.local.platform import Platform

    console = Console()
    capacity = {"nvidia.com/gpu": str(gpus)} if gpus else {}
    with expected_errors():
        platform = Platform(LocalCluster(cluster_state(name, state_dir), capacity=capacity))

        async def start() -> None:
            with platform.cluster.session("mlinfra up") as session:
                await platform.up(session, Steps(console))

        run(start())
        console.print(f"MLflow: {platform.mlflow_url}", highlight=False)
        console.print(f"export KUBECONFIG={platform.cluster.kubeconfig}", highlight=False, soft_wrap=True)


def status(name: Name = DEFAULT_NAME, state_dir: StateDir = None) -> None:
    """Show what runs, where, and what the local node does not enforce."""
    from rich.console import Console
    from rich.table import Table

    from mlinfra.local.cluster import LocalCluster

    console = Console()
    with expected_errors():
        state = cluster_state(name, state_dir)
        components = LocalCluster(state).statuses()
        if not components:
            console.print(f"Nothing runs in {state.directory}. Start it with: mlinfra up", soft_wrap=True)
            raise typer.Exit(EXIT_NOT_RUNNING)
        table = Table(box=None)
        for column in ("component", "state", "pid", "address"):
            table.add_column(column.upper(), no_wrap=True)
        for component in components:
            colour = "green" if component.liveness == "running" else "red"
            table.add_row(
                component.name,
                f"[{colour}]{component.liveness}[/]",
                str(component.pid),
                component.address,
            )
        console.print(table)
        console.print(f"Logs: {state.logs}/<component>.log", highlight=False, soft_wrap=True)
        console.print(f"The local node does not enforce: {NOT_ENFORCED}.", highlight=False)
        if any(component.liveness != "running" for component in components):
            console.print("Something ended by itself. Start it again with: mlinfra up")
            raise typer.Exit(EXIT_NOT_RUNNING)


def down(
    name: Name = DEFAULT_NAME,
    state_dir: StateDir = None,
    delete: Annotated[bool, typer.Option("--delete", help="Remove the cluster's data as well.")] = False,
) -> None:
    """Stop all that was started, and nothing else."""
    with expected_errors():
        stopped = _cluster(name, state_dir).down(delete=delete)
        typer.echo(f"Stopped: {', '.join(stopped)}" if stopped else "Nothing ran.")


def kubeconfig(name: Name = DEFAULT_NAME, state_dir: StateDir = None) -> None:
    """Print the path of the cluster's kubeconfig: export KUBECONFIG=$(mlinfra kubeconfig)."""
    with expected_errors():
        cluster = _cluster(name, state_dir)
        cluster.program("kubectl")
        typer.echo(cluster.kubeconfig)


def kubectl(context: typer.Context) -> None:
    """Run kubectl against the cluster (the one that MLINFRA_CLUSTER names, or the default one)."""
    with expected_errors():
        name = os.environ.get("MLINFRA_CLUSTER", DEFAULT_NAME)
        cluster = _cluster(name, None)
        program = cluster.program("kubectl")
        environment = os.environ | {"KUBECONFIG": str(cluster.kubeconfig)}
        os.execve(program, [str(program), *context.args], environment)


def _cluster(name: str, state_dir: Path | None) -> "LocalCluster":
    from mlinfra.local.cluster import LocalCluster

    return LocalCluster(cluster_state(name, state_dir))
