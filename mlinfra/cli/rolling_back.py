"""Brings back the version that was in Production before; what others change meanwhile is not overruled."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

from pydantic import ValidationError

from mlinfra.cli.access import ChangedMeanwhileError, ClusterAccessError, got, listed, patched
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
    read = (_read(obj, model) for obj in await listed(client, MODEL_VERSIONS, namespace))
    found = rollback_of(model, [version for version in read if version is not None])
    metadata, patch = found.previous.metadata, {"spec": {"stage": "Production"}}
    version = metadata.resource_version
    await patched(client, MODEL_VERSIONS, metadata.name, patch, namespace, version=version)
    return found


def _read(obj: dict[str, Any], model: str) -> ModelVersion | None:
    """A ModelVersion; None where it cannot be read and is of another model."""
    try:
        return ModelVersion.model_validate(obj)
    except ValidationError as error:
        if obj["spec"].get("modelName") != model:
            return None
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ClusterAccessError(
            f"ModelVersion {obj['metadata']['name']} cannot be read: {where}: {first['msg']}; "
            "use the mlinfra of the cluster's version"
        ) from error


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
