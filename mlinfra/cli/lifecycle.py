"""What a person asks of the resources, in place of an edit: retrain, approve, promote, roll back, suspend."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlinfra.cli.options import Namespace
from mlinfra.cli.running import expected_errors, run

if TYPE_CHECKING:
    from mlinfra.kube import KubernetesClient
    from mlinfra.kube.resource import ResourceType
    from mlinfra.retraining.rollback import Rollback

Version = Annotated[str, typer.Argument(help="Name of the ModelVersion, such as sp500-volatility-3.")]
Suspendable = Annotated[
    str,
    typer.Argument(
        help="trainingjob/NAME or retrainingpolicy/NAME; NAME alone is the TrainingJob, or the policy where "
        "there is no such TrainingJob."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (retrain, promote, rollback, approve, reject, suspend, resume):
        app.command()(command)


def retrain(
    policy: Annotated[str, typer.Argument(help="Name of the RetrainingPolicy.")], namespace: Namespace = None
) -> None:
    """Ask a RetrainingPolicy for a training now; its budget and concurrency policy still count."""
    from mlinfra.kube.resource import RETRAINING_POLICIES
    from mlinfra.resources.names import RETRAIN_ANNOTATION, RETRAINING_POLICY_LABEL

    value = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
    patch = {"metadata": {"annotations": {RETRAIN_ANNOTATION: value}}}
    where = _patch(RETRAINING_POLICIES, policy, patch, namespace)
    typer.echo(
        f"retrainingpolicy.mlinfra.io/{policy} asked for a training. Look at it with:\n"
        f"  kubectl get trainingjobs.mlinfra.io -n {where} -l {RETRAINING_POLICY_LABEL}={policy}"
    )


def promote(
    version: Version,
    stage: Annotated[str, typer.Option(help="Production, Staging, Archived or None.")] = "Production",
    namespace: Namespace = None,
) -> None:
    """Ask for a stage of a ModelVersion; its gates and its approval still count."""
    from mlinfra.kube.resource import MODEL_VERSIONS

    with expected_errors():
        wanted = _known_stage(stage)
    _patch(MODEL_VERSIONS, version, {"spec": {"stage": wanted}}, namespace)
    typer.echo(f"modelversion.mlinfra.io/{version} asks for {wanted}")


def rollback(
    model: Annotated[str, typer.Argument(help="Name of the registered model.")], namespace: Namespace = None
) -> None:
    """Bring back the version that was in Production before, in place of the one that is."""
    from mlinfra.cli.rolling_back import roll_back

    async def swap(client: "KubernetesClient", where: str) -> "Rollback":
        return await roll_back(client, model, where)

    _, found = _ask(swap, namespace)
    typer.echo(
        f"modelversion.mlinfra.io/{found.previous.metadata.name} takes Production again, "
        f"{found.current.metadata.name} is archived"
    )


def approve(version: Version, namespace: Namespace = None) -> None:
    """Approve a ModelVersion that waits for a person."""
    _decide_on(version, "Approved", namespace)


def reject(version: Version, namespace: Namespace = None) -> None:
    """Reject a ModelVersion that waits for a person: it takes no stage."""
    _decide_on(version, "Rejected", namespace)


def suspend(resource: Suspendable, namespace: Namespace = None) -> None:
    """Stop a TrainingJob's pods after a checkpoint, or let a RetrainingPolicy start nothing by itself."""
    _set_suspend(resource, True, namespace)


def resume(resource: Suspendable, namespace: Namespace = None) -> None:
    """Let a suspended TrainingJob or RetrainingPolicy go on."""
    _set_suspend(resource, False, namespace)


def _decide_on(version: str, approval: str, namespace: str | None) -> None:
    from mlinfra.kube.resource import MODEL_VERSIONS

    _patch(MODEL_VERSIONS, version, {"spec": {"approval": approval}}, namespace)
    typer.echo(f"modelversion.mlinfra.io/{version} {approval.lower()}")


def _set_suspend(resource: str, value: bool, namespace: str | None) -> None:
    from mlinfra.cli.access import first_with, patched

    async def decide(client: "KubernetesClient", where: str) -> str:
        type_, found = await first_with(client, types, name, where)
        # What has come to its end takes no part in the change, which would stay in its spec.
        refuse_ended(found)
        # It may have come to its end between the two.
        refuse_ended(await patched(client, type_, name, {"spec": {"suspend": value}}, where))
        return type_.kind.lower()

    with expected_errors():
        types, name = _suspendable(resource)
        _, kind = _ask(decide, namespace)
    typer.echo(f"{kind}.mlinfra.io/{name} {'suspended' if value else 'resumed'}")


def _suspendable(resource: str) -> "tuple[Sequence[ResourceType], str]":
    from mlinfra.cli.access import resource_named
    from mlinfra.kube.resource import RETRAINING_POLICIES, TRAINING_JOBS

    both = (TRAINING_JOBS, RETRAINING_POLICIES)
    type_, name = resource_named(resource, both, can="be suspended")
    return both if type_ is None else (type_,), name


def _known_stage(stage: str) -> str:
    from mlinfra.cli.access import UnknownResourceError
    from mlinfra.tracking.stages import STAGES

    for known in STAGES:
        if known.lower() == stage.lower():
            return known
    raise UnknownResourceError(f'there is no stage "{stage}"; there are: {", ".join(STAGES)}')


def _patch(resource: "ResourceType", name: str, patch: dict[str, Any], namespace: str | None) -> str:
    """Patch one object; the namespace that it is in."""
    from mlinfra.cli.access import patched

    return _ask(lambda client, where: patched(client, resource, name, patch, where), namespace)[0]


def refuse_ended(obj: dict[str, Any]) -> None:
    """Refuse what can no longer be suspended or resumed.

    Raises:
        UnknownResourceError: the TrainingJob has come to its end.
    """
    from mlinfra.cli.access import UnknownResourceError

    phase = (obj.get("status") or {}).get("phase")
    if phase in ("Succeeded", "Failed"):
        raise UnknownResourceError(
            f"TrainingJob {obj['metadata']['name']} has come to its end ({phase}): nothing runs or will run"
        )


def _ask(
    question: "Callable[[KubernetesClient, str], Awaitable[Any]]", namespace: str | None
) -> tuple[str, Any]:
    """Ask the cluster; the namespace in question, and the answer."""
    from mlinfra.cli.access import asked

    with expected_errors():
        return run(asked(question, namespace))
