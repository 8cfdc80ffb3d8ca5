"""Who scales a served model's Deployment is left alone: the operator does not set the number of its pods."""

from typing import Any

from integration.operator.manifests import condition
from integration.operator.served.traffic import stand_in, variables
from integration.operator.served.versions import register, serving, version
from servers.pod_metrics import follow_pods, pod_metrics

from mlinfra.kube.resource import AUTOSCALERS, DEPLOYMENTS, MODEL_VERSIONS

SCALER = "kube-controller-manager"


async def test_replicas_set_through_the_scale_subresource_stay(
    world, operator, tracking, unique, eventually
) -> None:
    register(tracking, unique, 1)
    name = f"{unique}-1"
    scaled = {"maxReplicas": 3}
    await version(world, name, unique, "1", stage="Production", serving=stand_in(autoscaling=scaled))
    await serving(world, eventually, name, "True")

    await scale(world, name, 3)
    await eventually(lambda: ready(world, name, 3), "three pods, told by the ModelVersion", seconds=60)

    operator.kill()
    operator.start()
    await operator.ready()
    before = await world.kube.get(DEPLOYMENTS, name, world.namespace)
    changed = stand_in(autoscaling=scaled, env=variables(ANOTHER="yes"))
    await version(world, name, unique, "1", stage="Production", serving=changed)

    async def applied() -> bool:
        found = await world.kube.get(DEPLOYMENTS, name, world.namespace)
        return bool(found["metadata"]["generation"] > before["metadata"]["generation"])

    await eventually(applied, "the Deployment with the new template")
    found = await world.kube.get(DEPLOYMENTS, name, world.namespace)
    assert found["spec"]["replicas"] == 3

    await scale(world, name, 1)
    await eventually(lambda: ready(world, name, 1), "one pod, told by the ModelVersion", seconds=60)


async def test_a_version_begins_with_as_many_pods_as_the_one_before(
    world, operator, tracking, unique, eventually
) -> None:
    register(tracking, unique, 2)
    first, second = (f"{unique}-{number}" for number in (1, 2))
    await version(world, first, unique, "1", stage="Production", serving=stand_in(replicas=2))
    await serving(world, eventually, first, "True")

    # Its pods stay where an autoscaler is to decide from now on.
    scaled = {"maxReplicas": 4}
    await version(world, first, unique, "1", stage="Production", serving=stand_in(autoscaling=scaled))

    async def autoscaled() -> bool:
        return await world.kube.find(AUTOSCALERS, first, world.namespace) is not None

    await eventually(autoscaled, "an autoscaler")
    await eventually(lambda: ready(world, first, 2), "two pods still", seconds=60)
    await scale(world, first, 3)
    await eventually(lambda: ready(world, first, 3), "three pods", seconds=60)

    await version(world, second, unique, "2", stage="Production", serving=stand_in(autoscaling=scaled))
    await serving(world, eventually, second, "True")
    assert await ready(world, second, 3)


async def test_an_autoscaler_without_metrics_says_so_and_the_version_is_served(
    world, operator, tracking, unique, eventually
) -> None:
    register(tracking, unique, 1)
    name = f"{unique}-1"
    await version(
        world, name, unique, "1", stage="Production", serving=stand_in(autoscaling={"maxReplicas": 3})
    )

    async def inactive() -> bool:
        found = await world.kube.get(AUTOSCALERS, name, world.namespace)
        told = {item["type"]: item for item in found.get("status", {}).get("conditions") or ()}
        active = told.get("ScalingActive", {})
        return (active.get("status"), active.get("reason")) == ("False", "FailedGetResourceMetric")

    await serving(world, eventually, name, "True")
    await eventually(inactive, "ScalingActive=False/FailedGetResourceMetric", seconds=60)


async def test_a_real_autoscaler_scales_by_what_the_pods_use(
    world, operator, cluster, tracking, unique, eventually
) -> None:
    register(tracking, unique, 2)
    first, second = (f"{unique}-{number}" for number in (1, 2))
    busy = stand_in(
        autoscaling={"maxReplicas": 3, "targetCPUUtilizationPercentage": 50},
        resources={"requests": {"cpu": "10m"}},
    )
    pki = cluster.state.pki
    async with pod_metrics(
        world.kube, world.namespace, pki / "apiserver.crt", pki / "apiserver.key"
    ) as metrics:
        await version(world, first, unique, "1", stage="Production", serving=busy)
        await serving(world, eventually, first, "True")
        # Three times what a pod should use.
        metrics.millicores = 15

        async def scaled() -> bool:
            await follow_pods(world.kube, world.namespace, metrics)
            return await ready(world, first, 3)

        await eventually(scaled, "three pods, as the autoscaler asks", seconds=90)
        metrics.millicores = 5
        await version(world, second, unique, "2", stage="Production", serving=busy)
        await serving(world, eventually, second, "True")
        assert await ready(world, second, 3)


async def scale(world: Any, name: str, replicas: int) -> None:
    """As a HorizontalPodAutoscaler does."""
    await world.kube.merge_patch(
        DEPLOYMENTS,
        name,
        {"spec": {"replicas": replicas}},
        namespace=world.namespace,
        subresource="scale",
        field_manager=SCALER,
    )


async def ready(world: Any, name: str, replicas: int) -> bool:
    """Whether all pods are ready, and the ModelVersion tells of as many."""
    deployment = await world.kube.get(DEPLOYMENTS, name, world.namespace)
    found = await world.kube.get(MODEL_VERSIONS, name, world.namespace)
    told = condition(found, "Serving")["message"]
    status = deployment["status"]
    counts = (deployment["spec"]["replicas"], status.get("replicas"), status.get("readyReplicas"))
    return counts == (replicas,) * 3 and told == f"{replicas} of {replicas} pods are ready"
