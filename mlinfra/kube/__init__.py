"""A lean asynchronous client of the Kubernetes API: what the operator, the local node and the
command line share."""

from mlinfra.kube.client import ApiError, KubernetesClient, WatchEvent
from mlinfra.kube.config import ClusterConfig, ConfigError
from mlinfra.kube.resource import ResourceType

__all__ = [
    "ApiError",
    "ClusterConfig",
    "ConfigError",
    "KubernetesClient",
    "ResourceType",
    "WatchEvent",
]
