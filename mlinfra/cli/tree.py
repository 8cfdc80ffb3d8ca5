"""``mlinfra tree``: what came from a policy, a training or a version, and how it is."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlinfra.cli.options import Namespace
from mlinfra.cli.output import Format, Output, print_json, print_table
from mlinfra.cli.running import expected_errors, run

if TYPE_CHECKING:
    from mlinfra.cli.resource_tree import Node
    from mlinfra.kube import KubernetesClient


def tree(
    resource: Annotated[
        str | None,
        typer.Argument(
            metavar="[KIND/]NAME",
            help="A retrainingpolicy, trainingjob or modelversion; NAME alone is the one that has it.",
            show_default="all of the namespace",
        ),
    ] = None,
    output: Output = Format.TABLE,
    namespace: Namespace = None,
) -> None:
    """Show what came from a RetrainingPolicy, TrainingJob or ModelVersion, down to the pods."""
    from mlinfra.cli.access import asked
    from mlinfra.cli.object_summary import utc_now
    from mlinfra.cli.resource_tree import HEADINGS, as_json, rows, trees_of

    with expected_errors():
        where, objects = run(asked(_objects, namespace))
        trees = trees_of(objects)
        if resource is not None:
            trees = [_named(resource, trees, where)]
    if output == Format.JSON:
        print_json([as_json(found) for found in trees] if resource is None else as_json(trees[0]))
    else:
        print_table(HEADINGS, rows(trees, utc_now()), empty=f"Nothing of mlinfra in namespace {where}.")


async def _objects(client: "KubernetesClient", namespace: str) -> list[dict[str, Any]]:
    """All objects of a namespace that may be in a tree, each with its kind."""
    import asyncio

    from mlinfra.cli.access import listed
    from mlinfra.kube import resource as types

    shown = (
        types.RETRAINING_POLICIES,
        types.TRAINING_JOBS,
        types.MODEL_VERSIONS,
        types.JOBS,
        types.PODS,
        types.SERVICES,
        types.DEPLOYMENTS,
        types.REPLICA_SETS,
        types.AUTOSCALERS,
    )
    lists = await asyncio.gather(*(listed(client, each, namespace) for each in shown))
    # A list's items do not say their kind.
    return [{**obj, "kind": each.kind} for each, found in zip(shown, lists, strict=True) for obj in found]


def _named(text: str, trees: "list[Node]", namespace: str) -> "Node":
    from mlinfra.cli.access import ClusterAccessError, UnknownResourceError, not_there, resource_named
    from mlinfra.cli.resource_tree import ROOT_KINDS, subtrees
    from mlinfra.kube.resource import MODEL_VERSIONS, RETRAINING_POLICIES, TRAINING_JOBS

    known = (RETRAINING_POLICIES, TRAINING_JOBS, MODEL_VERSIONS)
    type_, name = resource_named(text, known, can="be shown as a tree")
    found = subtrees(trees, [type_.kind] if type_ else ROOT_KINDS, name)
    if len(found) > 1:
        choices = " or ".join(f"{node.kind.lower()}/{name}" for node in found)
        raise UnknownResourceError(f'several resources are named "{name}": say {choices}')
    if found:
        return found[0]
    if type_:
        raise not_there((type_,), name, namespace)
    raise ClusterAccessError(
        f"there is no RetrainingPolicy, TrainingJob or ModelVersion {name} in namespace {namespace}; "
        "see: kubectl get mlinfra --all-namespaces"
    )
