"""Objects with a field of newer CRDs: they say that they cannot be read, and hold up no other."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from integration.operator.manifests import (
    condition,
    model_version,
    register,
    retraining_policy,
    training_job,
)

from mlinfra.kube.resource import (
    CUSTOM_RESOURCE_DEFINITIONS,
    MODEL_VERSIONS,
    RETRAINING_POLICIES,
    TRAINING_JOBS,
)

Object = dict[str, Any]
KINDS = (TRAINING_JOBS, MODEL_VERSIONS, RETRAINING_POLICIES)
NEWER = {"ofTheFuture": "yes"}


@pytest.fixture
async def newer_crds(kube) -> AsyncIterator[None]:
    """The CRDs with one more field in each spec, until the test ends."""
    names = [f"{each.plural}.{each.group}" for each in KINDS]

    async def change(field: Object | None) -> None:
        for name in names:
            found = await kube.get(CUSTOM_RESOURCE_DEFINITIONS, name)
            versions = found["spec"]["versions"]
            properties = versions[0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
            properties.pop("ofTheFuture", None)
            properties |= {} if field is None else {"ofTheFuture": field}
            await kube.merge_patch(CUSTOM_RESOURCE_DEFINITIONS, name, {"spec": {"versions": versions}})

    await change({"type": "string"})
    yield
    await change(None)


async def test_what_cannot_be_read_is_stalled_and_its_siblings_work(
    world, newer_crds, operator, tracking, unique, eventually
) -> None:
    register(tracking, unique, versions=3)
    first, second, third = (f"{unique}-{number}" for number in (1, 2, 3))
    await world.apply(model_version(first, unique, stage="Production"))
    await world.version_phase(first, "Production")
    policy = retraining_policy(unique, performance={}, rollback={}, schedule="0 0 1 1 *")
    await world.apply(policy)

    async def stalled(kind: Any, name: str, spec: Object) -> Object:
        """The object, once it tells that it cannot be read; the API server serves a new field soon."""

        async def told() -> Object | None:
            await world.kube.merge_patch(kind, name, {"spec": spec}, world.namespace)
            found = await world.kube.get(kind, name, world.namespace)
            conditions = (found.get("status") or {}).get("conditions") or []
            if not any(each["reason"] == "InvalidResource" for each in conditions):
                return None
            return found if found["status"]["observedGeneration"] == found["metadata"]["generation"] else None

        return await eventually(told, f"{kind.kind} {name} is stalled")

    unreadable = await stalled(MODEL_VERSIONS, first, NEWER)
    assert "ofTheFuture" in condition(unreadable, "Stalled")["message"]
    assert condition(unreadable, "Ready")["status"] == "False"
    assert unreadable["status"]["phase"] == "Production"
    assert tracking.get_model_version_by_alias(unique, "production").version == "1"
    # Its siblings are decided on, and the newest claim wins.
    await world.apply(model_version(second, unique, version="2", stage="Staging"))
    await world.version_phase(second, "Staging")
    await world.apply(model_version(third, unique, version="3", stage="Production"))
    await world.version_phase(third, "Production")
    assert tracking.get_model_version_by_alias(unique, "production").version == "3"
    assert tracking.get_model_version(unique, "1").current_stage == "Archived"

    # A policy whose model has an unreadable version goes on.
    async def settled() -> bool:
        found = await world.kube.get(RETRAINING_POLICIES, unique, world.namespace)
        return bool((found.get("status") or {}).get("observedGeneration") == found["metadata"]["generation"])

    await eventually(settled, "the policy is looked at")
    await stalled(RETRAINING_POLICIES, unique, NEWER)
    await world.apply(training_job(unique, suspend=True))
    await world.phase(unique, "Suspended")
    events = await world.events(first)
    assert [each["count"] for each in events if each["reason"] == "InvalidResource"] == [1]
    # With the field away it can be read again.
    await world.kube.merge_patch(MODEL_VERSIONS, first, {"spec": {"ofTheFuture": None}}, world.namespace)

    async def readable() -> bool:
        found = await world.model_version(first)
        return bool(condition(found, "Stalled")["status"] == "False")

    await eventually(readable, "the version is read again")


async def test_a_training_that_cannot_be_read_is_stalled(
    world, newer_crds, operator, unique, eventually
) -> None:
    async def applied() -> Object | None:
        found = await world.apply(training_job(f"{unique}-{len(names)}", **NEWER))
        names.append(found["metadata"]["name"])
        return found if "ofTheFuture" in found["spec"] else None

    names: list[str] = []
    name = (await eventually(applied, "the API server serves the new field"))["metadata"]["name"]

    async def told() -> bool:
        found = await world.training_job(name)
        conditions = (found.get("status") or {}).get("conditions") or []
        return any(each["type"] == "Stalled" and each["status"] == "True" for each in conditions)

    await eventually(told, "the TrainingJob is stalled")
