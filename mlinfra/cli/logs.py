"""``mlinfra logs``: what the pods of a training print."""

from typing import TYPE_CHECKING, Annotated

import typer

from mlinfra.cli.options import Namespace
from mlinfra.cli.running import EXIT_INTERRUPTED, expected_errors, run

if TYPE_CHECKING:
    from mlinfra.kube import KubernetesClient


def logs(
    name: Annotated[str, typer.Argument(help="Name of the TrainingJob.")],
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on, over retries too, until the training has ended.")
    ] = False,
    attempt: Annotated[
        int | None,
        typer.Option(min=1, help="Which attempt, from 1.", show_default="the last"),
    ] = None,
    node: Annotated[
        int | None,
        typer.Option(min=0, help="Which pod of those that train together, from 0.", show_default="all"),
    ] = None,
    tail: Annotated[
        int | None, typer.Option(min=0, help="So many of the newest lines.", show_default="all")
    ] = None,
    namespace: Namespace = None,
) -> None:
    """Print what the pods of a TrainingJob print."""
    from mlinfra.cli.access import asked
    from mlinfra.cli.training_logs import TrainingLogs

    async def show(client: "KubernetesClient", where: str) -> None:
        training = TrainingLogs(client, name, where, attempt=attempt, node=node, tail=tail)
        await (training.follow() if follow else training.print())

    with expected_errors():
        try:
            run(asked(show, namespace))
        except KeyboardInterrupt:
            raise typer.Exit(EXIT_INTERRUPTED) from None
