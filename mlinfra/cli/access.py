"""The cluster that a command speaks to, and its refusals in words."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from mlinfra.errors import InvalidInputError, MlinfraError
from mlinfra.kube import ApiError, ClusterConfig, ConfigError, KubernetesClient
from mlinfra.kube.resource import ResourceType

FIELD_MANAGER = "mlinfra-cli"
NOT_FOUND = 404


class ClusterAccessError(MlinfraError):
    """There is no cluster, it does not answer, or it refuses."""


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


async def patched(
    client: KubernetesClient, resource: ResourceType, name: str, patch: dict[str, Any], namespace: str
) -> dict[str, Any]:
    """The object after a merge patch.

    Raises:
        ClusterAccessError: there is no such object, or the API server refuses or does not answer.
    """
    with _told_refusals(client, f"{resource.kind} {name}"):
        try:
            return await client.merge_patch(resource, name, patch, namespace, field_manager=FIELD_MANAGER)
        except ApiError as error:
            if error.status != NOT_FOUND:
                raise
            raise ClusterAccessError(
                f"there is no {resource.kind} {name} in namespace {namespace}; "
                f"see: kubectl get {resource.plural}.{resource.group} --all-namespaces"
            ) from error


async def listed(client: KubernetesClient, resource: ResourceType, namespace: str) -> list[dict[str, Any]]:
    """All objects of a type in a namespace.

    Raises:
        ClusterAccessError: the API server refuses or does not answer.
    """
    with _told_refusals(client, resource.plural):
        objects, _ = await client.list(resource, namespace)
        return objects


@contextmanager
def _told_refusals(client: KubernetesClient, what: str) -> Iterator[None]:
    try:
        yield
    except ApiError as error:
        raise ClusterAccessError(f"{what}: {error}") from error
    except httpx.HTTPError as error:
        raise ClusterAccessError(f"the API server at {client.config.server}: {error}") from error
