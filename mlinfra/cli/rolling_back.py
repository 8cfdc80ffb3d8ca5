"""Brings back the version that was in Production before; what others change meanwhile is not overruled."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from mlinfra.cli.access import ChangedMeanwhileError, got, listed, patched
from mlinfra.kube import KubernetesClient
from mlinfra.kube.resource import MODEL_VERSIONS
from mlinfra.resources import ModelVersion
from mlinfra.retraining.rollback import Rollback, rollback_of

ATTEMPTS = 5
T = TypeVar("T")


async def roll_back(client: KubernetesClient, model: str, namespace: str) -> Rollback:
    """Which version left Production, and which took it again.

    Raises:
        NoRollbackError: none is in Production, or none was before it.
        ChangedMeanwhileError: somebody else keeps changing them.
        ClusterAccessError: the API server refuses or does not answer.
    """
    # The older one claims first: a moment with two claims is settled, one with none would serve nothing.
    found = await _again(lambda: _claim(client, model, namespace))
    await _again(lambda: _leave(client, found.current, namespace))
    return found


async def _claim(client: KubernetesClient, model: str, namespace: str) -> Rollback:
    objects = await listed(client, MODEL_VERSIONS, namespace)
    found = rollback_of(model, [ModelVersion.model_validate(obj) for obj in objects])
    name = found.previous.metadata.name
    versions = {obj["metadata"]["name"]: obj["metadata"]["resourceVersion"] for obj in objects}
    patch = {"spec": {"stage": "Production"}}
    await patched(client, MODEL_VERSIONS, name, patch, namespace, version=versions[name])
    return found


async def _leave(client: KubernetesClient, current: ModelVersion, namespace: str) -> None:
    """Archive the version that was in Production, unless somebody asks for another stage of it by now."""
    name = current.metadata.name
    obj = await got(client, MODEL_VERSIONS, name, namespace)
    if obj["spec"].get("stage") == current.spec.stage:
        patch, version = {"spec": {"stage": "Archived"}}, obj["metadata"]["resourceVersion"]
        await patched(client, MODEL_VERSIONS, name, patch, namespace, version=version)


async def _again(step: Callable[[], Awaitable[T]]) -> T:
    """A step that reads and writes, done again where somebody changed meanwhile what it had read."""
    for _ in range(ATTEMPTS - 1):
        with suppress(ChangedMeanwhileError):
            return await step()
    return await step()
