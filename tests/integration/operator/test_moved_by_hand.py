"""Stages and aliases moved in MLflow by hand: what Kubernetes owns is put right, all else is shown."""

from typing import Any

from integration.operator.manifests import model_version, register
from mlflow import MlflowClient

from mlinfra.kube.resource import MODEL_VERSIONS
from mlinfra.tracking.stages import set_stage

Object = dict[str, Any]
Registered = dict[str, tuple[str, list[str]]]


def in_mlflow(tracking: MlflowClient, model: str) -> Registered:
    """Stage and aliases of each version."""
    versions = tracking.search_model_versions(f"name='{model}'")
    numbers = sorted(str(version.version) for version in versions)
    found = {number: tracking.get_model_version(model, number) for number in numbers}
    return {number: (each.current_stage, sorted(each.aliases)) for number, each in found.items()}


async def is_settled(world: Any, tracking: MlflowClient, model: str, eventually: Any, **wanted: Any) -> None:
    """The versions are looked at, and MLflow and their status are as wanted; again, and nothing changes."""
    names = [f"{model}-{number}" for number in ("1", "2")]
    registered = wanted.pop("registered")

    async def look(value: str) -> None:
        for name in names:
            touch = {"metadata": {"annotations": {"looked-at": value}}}
            await world.kube.merge_patch(MODEL_VERSIONS, name, touch, world.namespace)

    async def reached() -> bool:
        stages = {name: (await world.model_version(name))["status"].get("stage") for name in names}
        told = dict(zip(names, wanted["stages"], strict=True))
        return stages == told and in_mlflow(tracking, model) == registered

    await look("once")
    await eventually(reached, f"MLflow has {registered}, and the versions say {wanted['stages']}")
    await look("twice")
    before = [await world.model_version(name) for name in names]
    other = f"{model}-other"
    await world.apply(model_version(other, other, version="1"))
    await world.version_phase(other, "Pending")
    assert [await world.model_version(name) for name in names] == before
    assert in_mlflow(tracking, model) == registered
    await world.kube.delete(MODEL_VERSIONS, other, world.namespace)


async def test_what_kubernetes_owns_is_put_right(world, operator, tracking, unique, eventually) -> None:
    register(tracking, unique, versions=2)
    for number, stage in (("1", "Production"), ("2", "Staging")):
        name = f"{unique}-{number}"
        await world.apply(model_version(name, unique, version=number, stage=stage))
        await world.version_phase(name, stage)
    right: Registered = {"1": ("Production", ["production"]), "2": ("Staging", ["staging"])}
    assert in_mlflow(tracking, unique) == right

    async def comes_right() -> None:
        stages = ("Production", "Staging")
        await is_settled(world, tracking, unique, eventually, registered=right, stages=stages)

    tracking.set_registered_model_alias(unique, "production", "2")
    await comes_right()
    tracking.delete_registered_model_alias(unique, "staging")
    await comes_right()
    set_stage(tracking, unique, "1", "Archived")
    await comes_right()


async def test_what_mlflow_owns_is_shown_and_left_alone(
    world, operator, tracking, unique, eventually
) -> None:
    register(tracking, unique, versions=2)
    for number in ("1", "2"):
        await world.apply(model_version(f"{unique}-{number}", unique, version=number))
        await world.version_phase(f"{unique}-{number}", "Registered")

    async def shown(*stages: str) -> None:
        found = in_mlflow(tracking, unique)
        await is_settled(world, tracking, unique, eventually, registered=found, stages=stages)

    set_stage(tracking, unique, "1", "Production")
    await shown("Production", "None")
    # By the alias alone: it beats MLflow's own stage.
    tracking.set_registered_model_alias(unique, "production", "2")
    await shown("Production", "Production")
    set_stage(tracking, unique, "1", "Archived")
    await shown("Archived", "Production")


async def test_a_claim_in_kubernetes_beats_what_mlflow_owns(
    world, operator, tracking, unique, eventually
) -> None:
    register(tracking, unique, versions=2)
    await world.apply(model_version(f"{unique}-1", unique, version="1", stage="Production"))
    await world.version_phase(f"{unique}-1", "Production")
    await world.apply(model_version(f"{unique}-2", unique, version="2"))
    await world.version_phase(f"{unique}-2", "Registered")
    set_stage(tracking, unique, "2", "Production")
    right: Registered = {"1": ("Production", ["production"]), "2": ("Archived", [])}
    await is_settled(world, tracking, unique, eventually, registered=right, stages=("Production", "Archived"))
