"""kopf's part: it watches our three resources and tells the caches. Decisions are made elsewhere.

Only ``on.event`` handlers: kopf writes nothing to the objects then, neither annotations nor finalizers.
"""

from collections.abc import Iterable, Iterator
from itertools import chain, repeat
from typing import Any

import kopf

from mlinfra.kube import ClusterConfig
from mlinfra.kube.client import REQUEST_TIMEOUT_SECONDS, WATCH_TIMEOUT_SECONDS
from mlinfra.kube.resource import MODEL_VERSIONS, RETRAINING_POLICIES, TRAINING_JOBS, ResourceType
from mlinfra_operator.runtime.cache import ObjectCache
from mlinfra_operator.runtime.health import Health
from mlinfra_operator.runtime.login import Watched, connection
from mlinfra_operator.runtime.operator import Operator

PAGE_SIZE = 500
IDLE_SECONDS = 0.2
CONCURRENT_OBJECTS = 100
RECONNECT_SECONDS = 1.0
FIRST_BACKOFFS = (1.0, 2.0, 3.0, 5.0, 8.0, 13.0)
LONGEST_BACKOFF = 20.0


class EndlessBackoffs(Iterable[float]):
    """Delays between attempts at a request, without end: kopf would give up, and the operator with it."""

    def __iter__(self) -> Iterator[float]:
        return chain(FIRST_BACKOFFS, repeat(LONGEST_BACKOFF))


class NoDiffBase(kopf.DiffBaseStorage):
    """Nothing is stored: no handler here reads what changed since last time."""

    def build(self, *, body: kopf.Body, extra_fields: Any = None) -> kopf.BodyEssence:
        return kopf.BodyEssence({})

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Nothing is stored."""


def operator_settings(silence: float) -> kopf.OperatorSettings:
    """kopf's settings: few requests, and no rights beyond our own resources.

    Args:
        silence: seconds without a word after which a watch's connection counts as dead.
    """
    settings = kopf.OperatorSettings()
    settings.persistence.diffbase_storage = NoDiffBase()
    settings.persistence.finalizer = "mlinfra.io/kopf"
    settings.watching.chunk_size = PAGE_SIZE
    settings.watching.inactivity_timeout = silence
    settings.watching.server_timeout = WATCH_TIMEOUT_SECONDS
    settings.watching.reconnect_backoff = RECONNECT_SECONDS
    settings.networking.request_timeout = REQUEST_TIMEOUT_SECONDS
    settings.networking.error_backoffs = EndlessBackoffs()
    settings.queueing.idle_timeout = IDLE_SECONDS
    settings.queueing.worker_limit = CONCURRENT_OBJECTS
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.posting.enabled = False
    return settings


def operator_registry(operator: Operator, config: ClusterConfig, health: Health) -> kopf.OperatorRegistry:
    """The handlers of one operator, whose watches have to give signs of life from now on."""
    registry = kopf.OperatorRegistry()
    fed = {
        TRAINING_JOBS: operator.jobs,
        MODEL_VERSIONS: operator.versions,
        RETRAINING_POLICIES: operator.policies,
    }
    watched = {
        resource.plural: Watched(health.pulse(resource.plural), cache) for resource, cache in fed.items()
    }

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.AiohttpSession:
        return connection(config, watched, operator.relist)

    for resource, cache in fed.items():
        _feed(registry, resource, cache)
    return registry


def _feed(registry: kopf.OperatorRegistry, resource: ResourceType, cache: ObjectCache) -> None:
    @kopf.on.event(resource.group, resource.version, resource.plural, registry=registry)
    async def observe(event: kopf.RawEvent, **_: Any) -> None:
        obj = dict(event["object"])
        if event["type"] == "DELETED":
            cache.forget(obj)
        else:
            cache.observe(obj)
