"""A ModelVersion that is deleted with its version, on the real API server, with MLflow and without."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from integration.operator.manifests import condition, model_version, register
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from mlinfra.kube import KubernetesClient
from mlinfra.kube.resource import MODEL_VERSIONS, NAMESPACES
from mlinfra.resources.names import VERSION_FINALIZER


async def gone(world: Any, name: str, eventually: Callable[..., Awaitable[Any]]) -> None:
    async def absent() -> bool:
        return await world.kube.find(MODEL_VERSIONS, name, world.namespace) is None

    await eventually(absent, f"ModelVersion {name} is gone")


async def reasons(world: Any, name: str) -> set[str]:
    return {event["reason"] for event in await world.events(name)}


async def test_a_version_in_production_is_archived_and_deleted_with_its_model_version(
    world, operator, tracking, unique, kube, eventually
) -> None:
    register(tracking, unique)
    await world.apply(model_version(unique, unique, stage="Production", deletionPolicy="Delete"))
    held = await world.version_phase(unique, "Production")
    assert held["metadata"]["finalizers"] == [VERSION_FINALIZER]
    await kube.delete(MODEL_VERSIONS, unique, world.namespace)
    await gone(world, unique, eventually)
    with pytest.raises(MlflowException, match="not found"):
        tracking.get_model_version(unique, "1")
    assert tracking.get_registered_model(unique).aliases == {}
    assert "VersionDeleted" in await reasons(world, unique)


async def test_a_version_stays_in_mlflow_where_it_is_retained(
    world, operator, tracking, unique, kube, eventually
) -> None:
    register(tracking, unique)
    await world.apply(model_version(unique, unique, stage="Production"))
    kept = await world.version_phase(unique, "Production")
    assert "finalizers" not in kept["metadata"]
    await kube.delete(MODEL_VERSIONS, unique, world.namespace)
    await gone(world, unique, eventually)
    assert tracking.get_model_version_by_alias(unique, "production").version in ("1", 1)


async def test_the_finalizer_comes_and_goes_with_the_policy(
    world, operator, tracking, unique, eventually
) -> None:
    register(tracking, unique)
    for policy in ("Retain", "Delete", "Retain"):
        await world.apply(model_version(unique, unique, deletionPolicy=policy))
        expected = [VERSION_FINALIZER] if policy == "Delete" else []

        async def settled(expected: list[str] = expected) -> bool:
            found = await world.model_version(unique)
            told = (found.get("status") or {}).get("observedGeneration") == found["metadata"]["generation"]
            return told and found["metadata"].get("finalizers", []) == expected

        await eventually(settled, f"the finalizer of {policy}")


async def deleted_without_mlflow(world: Any, tracking: MlflowClient, server: Any, name: str) -> None:
    """A ModelVersion that is held when MLflow goes away."""
    register(tracking, name)
    await world.apply(model_version(name, name, stage="Staging", deletionPolicy="Delete"))
    await world.version_phase(name, "Staging")
    server.stop()


async def test_a_deletion_waits_for_an_mlflow_that_comes_back(
    world, operator, mlflow_server, tracking, unique, kube, eventually
) -> None:
    try:
        await deleted_without_mlflow(world, tracking, mlflow_server, unique)
        await kube.delete(MODEL_VERSIONS, unique, world.namespace)

        async def told() -> bool:
            found = condition(await world.model_version(unique), "Reconciling")
            return bool(found["reason"] == "MLflowUnavailable")

        await eventually(told, "the condition tells what is waited for")
    finally:
        mlflow_server.start()
    await gone(world, unique, eventually)
    with pytest.raises(MlflowException, match="not found"):
        tracking.get_model_version(unique, "1")


async def test_a_namespace_is_deleted_although_mlflow_is_gone_for_good(
    world, operator_process, mlflow_server, tracking, unique, kube: KubernetesClient, eventually
) -> None:
    operator_process.environment["MLINFRA_DELETION_PATIENCE_SECONDS"] = "2"
    operator_process.start()
    await operator_process.ready()
    try:
        await deleted_without_mlflow(world, tracking, mlflow_server, unique)
        await kube.delete(MODEL_VERSIONS, unique, world.namespace)
        await gone(world, unique, eventually)
        assert "VersionNotDeleted" in await reasons(world, unique)
        other = model_version(f"{unique}-other", f"{unique}-other", deletionPolicy="Delete")
        await world.apply(other)

        async def held() -> bool:
            found = await world.model_version(f"{unique}-other")
            return bool(found["metadata"].get("finalizers"))

        await eventually(held, "the finalizer, which needs no MLflow")
        await kube.delete(NAMESPACES, world.namespace)

        async def ended() -> bool:
            return await kube.find(NAMESPACES, world.namespace) is None

        await eventually(ended, "the namespace is gone", seconds=60)
    finally:
        mlflow_server.start()
    assert tracking.get_model_version(unique, "1").current_stage == "Staging"
