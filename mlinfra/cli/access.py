"""The cluster that a command speaks to, and its refusals in words."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import httpx

from mlinfra.errors import InvalidInputError, MlinfraError
from mlinfra.kube import ApiError, ClusterConfig, ConfigError, KubernetesClient
from mlinfra.kube.resource import ResourceType

T = TypeVar("T")

FIELD_MANAGER = "mlinfra-cli"
NOT_FOUND, CONFLICT = 404, 409


class ClusterAccessError(MlinfraError):
    """There is no cluster, it does not answer, or it refuses."""


class ChangedMeanwhileError(ClusterAccessError):
    """Somebody changed what the command was about to change."""


class UnknownResourceError(InvalidInputError):
    """What the command line names is none of our resources, or no stage."""


def cluster_client() -> KubernetesClient:
    """A client of the cluster that KUBECONFIG, the pod or ``~/.kube/config`` names.

    Raises:
        ClusterAccessError: none of them does.
    """
    try:
        return KubernetesClient(ClusterConfig.load(), user_agent=FIELD_MANAGER)
    except ConfigError as error:
        raise ClusterAccessError(
            f"{error}; of a cluster that runs: export KUBECONFIG=$(mlinfra kubeconfig)"
        ) from error


async def asked(
    question: Callable[[KubernetesClient, str], Awaitable[T]], namespace: str | None
) -> tuple[str, T]:
    """Ask the cluster; the namespace in question, by default the kubeconfig's, and the answer."""
    async with cluster_client() as client:
        where = namespace or client.config.namespace
        return where, await question(client, where)


async def patched(
    client: KubernetesClient,
    resource: ResourceType,
    name: str,
    patch: dict[str, Any],
    namespace: str,
    *,
    version: str | None = None,
) -> dict[str, Any]:
    """The object after a merge patch.

    Args:
        client: client of the cluster.
        resource: type of the object.
        name: of the object.
        patch: what changes.
        namespace: of the object.
        version: resourceVersion of the object that is changed; whichever it is now where absent.

    Raises:
        ChangedMeanwhileError: it has another version by now.
        ClusterAccessError: there is no such object, or the API server refuses or does not answer.
    """
    if version is not None:
        patch = {**patch, "metadata": {**patch.get("metadata", {}), "resourceVersion": version}}
    with told_refusals(client, f"{resource.kind} {name}"):
        try:
            return await client.merge_patch(resource, name, patch, namespace, field_manager=FIELD_MANAGER)
        except ApiError as error:
            if error.status == CONFLICT and version is not None:
                message = f"{resource.kind} {name} was changed meanwhile: look at it, and try again"
                raise ChangedMeanwhileError(message) from error
            if error.status != NOT_FOUND:
                raise
            raise not_there((resource,), name, namespace) from error


async def got(client: KubernetesClient, resource: ResourceType, name: str, namespace: str) -> dict[str, Any]:
    """One object.

    Raises:
        ClusterAccessError: there is no such object, or the API server refuses or does not answer.
    """
    return (await first_with(client, (resource,), name, namespace))[1]


async def first_with(
    client: KubernetesClient, resources: Sequence[ResourceType], name: str, namespace: str
) -> tuple[ResourceType, dict[str, Any]]:
    """The first of the types that has an object of this name, and the object.

    Raises:
        ClusterAccessError: none of them has, or the API server refuses or does not answer.
    """
    for resource in resources:
        with told_refusals(client, f"{resource.kind} {name}"):
            found = await client.find(resource, name, namespace)
        if found is not None:
            return resource, found
    raise not_there(resources, name, namespace)


def not_there(resources: Sequence[ResourceType], name: str, namespace: str) -> ClusterAccessError:
    """Of an object that a command names and the cluster does not have."""
    kinds = " or ".join(resource.kind for resource in resources)
    plurals = ",".join(f"{resource.plural}.{resource.group}" for resource in resources)
    return ClusterAccessError(
        f"there is no {kinds} {name} in namespace {namespace}; see: kubectl get {plurals} --all-namespaces"
    )


def resource_named(text: str, known: Sequence[ResourceType], *, can: str) -> tuple[ResourceType | None, str]:
    """Type and name of ``KIND/NAME`` as kubectl writes them; no type where NAME stands alone.

    Args:
        text: what the command line says.
        known: types that the command takes.
        can: what the command does with one, for the message: "be suspended".

    Raises:
        UnknownResourceError: it is of no such type.
    """
    kind, slash, name = text.rpartition("/")
    if not slash:
        return None, name
    for resource in known:
        if kind.removesuffix(f".{resource.group}") in (resource.kind.lower(), resource.plural):
            return resource, name
    names = " or ".join(f"{resource.kind.lower()}/NAME" for resource in known)
    raise UnknownResourceError(f'"{text}" cannot {can}: name {names}')


async def listed(
    client: KubernetesClient,
    resource: ResourceType,
    namespace: str | None,
    *,
    label_selector: str | None = None,
) -> list[dict[str, Any]]:
    """All objects of a type in a namespace, or in all of them, that have the labels.

    Raises:
        ClusterAccessError: the API server refuses or does not answer.
    """
    with told_refusals(client, resource.plural):
        objects, _ = await client.list(resource, namespace, label_selector=label_selector)
        return objects


@contextmanager
def told_refusals(client: KubernetesClient, what: str) -> Iterator[None]:
    """Tell what the API server answers, or that it does not, as a `ClusterAccessError`."""
    try:
        yield
    except ApiError as error:
        raise ClusterAccessError(f"{what}: {error}") from error
    except httpx.HTTPError as error:
        raise ClusterAccessError(f"the API server at {client.config.server}: {error}") from error
