"""kopf's part: it watches our three resources and tells the caches. Decisions are made elsewhere.

Only ``on.event`` handlers: kopf writes nothing to the objects then, neither annotations nor finalizers.
"""

import logging
from typing import Any

import kopf

from mlinfra.kube import ClusterConfig
from mlinfra.kube.resource import MODEL_VERSIONS, RETRAINING_POLICIES, TRAINING_JOBS, ResourceType
from mlinfra_operator.runtime.cache import ObjectCache
from mlinfra_operator.runtime.login import connection
from mlinfra_operator.runtime.operator import Operator

PAGE_SIZE = 500
IDLE_SECONDS = 0.2
CONCURRENT_OBJECTS = 100


class NoDiffBase(kopf.DiffBaseStorage):
    """Nothing is stored: no handler here reads what changed since last time."""

    def build(self, *, body: kopf.Body, extra_fields: Any = None) -> kopf.BodyEssence:
        return kopf.BodyEssence({})

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Nothing is stored."""


def operator_settings() -> kopf.OperatorSettings:
    """kopf's settings: few requests, and no rights beyond our own resources."""
    settings = kopf.OperatorSettings()
    settings.persistence.diffbase_storage = NoDiffBase()
    settings.persistence.finalizer = "mlinfra.io/kopf"
    settings.watching.chunk_size = PAGE_SIZE
    settings.queueing.idle_timeout = IDLE_SECONDS
    settings.queueing.worker_limit = CONCURRENT_OBJECTS
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.posting.enabled = False
    return settings


def operator_registry(operator: Operator, config: ClusterConfig) -> kopf.OperatorRegistry:
    """The handlers of one operator."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.AiohttpSession:
        return connection(config)

    _feed(registry, TRAINING_JOBS, operator.jobs)
    _feed(registry, MODEL_VERSIONS, operator.versions)
    _feed(registry, RETRAINING_POLICIES, operator.policies)
    return registry


def quiet_logs() -> None:
    """kopf tells of each event that a handler saw it, and of each probe that was answered: no news."""
    for name in ("kopf.objects", "aiohttp.access"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _feed(registry: kopf.OperatorRegistry, resource: ResourceType, cache: ObjectCache) -> None:
    @kopf.on.event(resource.group, resource.version, resource.plural, registry=registry)
    async def observe(event: kopf.RawEvent, **_: Any) -> None:
        obj = dict(event["object"])
        if event["type"] == "DELETED":
            cache.forget(obj)
        else:
            cache.observe(obj)
