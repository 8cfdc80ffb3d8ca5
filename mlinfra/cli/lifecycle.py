"""``mlinfra retrain``: what a person asks of the resources, in place of an edit."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from mlinfra.cli.running import expected_errors, run

Namespace = Annotated[
    str | None,
    typer.Option("--namespace", "-n", help="Namespace of the resource.", show_default="the kubeconfig's"),
]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(retrain)


def retrain(
    policy: Annotated[str, typer.Argument(help="Name of the RetrainingPolicy.")], namespace: Namespace = None
) -> None:
    """Ask a RetrainingPolicy for a training now; its budget and concurrency policy still count."""
    from mlinfra.cli.access import cluster_client, patched
    from mlinfra.kube.resource import RETRAINING_POLICIES
    from mlinfra.resources.names import RETRAIN_ANNOTATION, RETRAINING_POLICY_LABEL

    value = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"

    async def ask() -> str:
        async with cluster_client() as client:
            where = namespace or client.config.namespace
            patch = {"metadata": {"annotations": {RETRAIN_ANNOTATION: value}}}
            await patched(client, RETRAINING_POLICIES, policy, patch, where)
            return where

    with expected_errors():
        where = run(ask())
    typer.echo(
        f"retrainingpolicy.mlinfra.io/{policy} asked for a training. Look at it with:\n"
        f"  kubectl get trainingjobs.mlinfra.io -n {where} -l {RETRAINING_POLICY_LABEL}={policy}"
    )
