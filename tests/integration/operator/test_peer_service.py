"""The Service by which pods find each other is deleted while they train."""

from typing import Any

from integration.operator.manifests import training_job

from mlinfra.kube.resource import SERVICES
from mlinfra.resources.names import MANAGED_LABEL, TRAINING_JOB_UID_LABEL

Object = dict[str, Any]


async def peer_service(world: Any, uid: str) -> Object | None:
    selector = f"{TRAINING_JOB_UID_LABEL}={uid}"
    found, _ = await world.kube.list(SERVICES, world.namespace, label_selector=selector)
    assert len(found) <= 1
    return found[0] if found else None


async def test_a_deleted_peer_service_is_made_again(world, operator, unique, eventually) -> None:
    await world.apply(training_job(unique, numNodes=2))
    job = await world.job(unique)
    uid = (await world.training_job(unique))["metadata"]["uid"]

    async def another(than: Object) -> Object | None:
        found = await peer_service(world, uid)
        return found if found is not None and found["metadata"]["uid"] != than["metadata"]["uid"] else None

    async def delete(service: Object) -> None:
        await world.kube.delete(SERVICES, service["metadata"]["name"], world.namespace)

    first = await peer_service(world, uid)
    assert first is not None
    await world.phase(unique, "Pending")
    await delete(first)
    second = await eventually(lambda: another(first), "the Service is made again")
    same = ("name", "labels", "ownerReferences")
    assert [second["metadata"][key] for key in same] == [first["metadata"][key] for key in same]
    assert second["spec"]["selector"] == first["spec"]["selector"]
    # Also what is deleted while no operator looks.
    operator.kill()
    await delete(second)
    operator.start()
    await operator.ready()
    third = await eventually(lambda: another(second), "a restarted operator makes it again")
    # That of an earlier operator has no label to be watched by.
    operator.kill()
    bare = {"metadata": {"labels": {MANAGED_LABEL: None}}}
    await world.kube.merge_patch(SERVICES, third["metadata"]["name"], bare, world.namespace)
    operator.start()

    async def labelled() -> bool:
        found = await peer_service(world, uid)
        assert found is not None
        assert found["metadata"]["uid"] == third["metadata"]["uid"]
        return found["metadata"]["labels"].get(MANAGED_LABEL) == "true"

    await eventually(labelled, "the earlier operator's Service is taken on")
    assert (await world.job(unique))["metadata"]["uid"] == job["metadata"]["uid"]
