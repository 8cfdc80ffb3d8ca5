"""The cluster that a command speaks to, and its refusals in words."""

from typing import Any

import httpx

from mlinfra.errors import MlinfraError
from mlinfra.kube import ApiError, ClusterConfig, ConfigError, KubernetesClient
from mlinfra.kube.resource import ResourceType

FIELD_MANAGER = "mlinfra-cli"
NOT_FOUND = 404


class ClusterAccessError(MlinfraError):
    """There is no cluster, it does not answer, or it refuses."""


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
    try:
        return await client.merge_patch(resource, name, patch, namespace, field_manager=FIELD_MANAGER)
    except ApiError as error:
        if error.status != NOT_FOUND:
            raise ClusterAccessError(f"{resource.kind} {name}: {error}") from error
        raise ClusterAccessError(
            f"there is no {resource.kind} {name} in namespace {namespace}; "
            f"see: kubectl get {resource.plural}.{resource.group} --all-namespaces"
        ) from error
    except httpx.HTTPError as error:
        raise ClusterAccessError(f"the API server at {client.config.server}: {error}") from error
