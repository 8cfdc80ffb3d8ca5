"""Versions are served, switched under load, brought back, and kept away where they do not start."""

from integration.operator.manifests import condition
from integration.operator.served.traffic import stand_in, traffic, variables
from integration.operator.served.versions import register, serving, version

from mlinfra.kube.resource import AUTOSCALERS, DEPLOYMENTS, MODEL_VERSIONS, PODS, SERVICES


async def test_a_version_is_served_switched_under_load_and_brought_back(
    world, operator, tracking, unique, mlinfra, eventually
) -> None:
    register(tracking, unique, 2)
    first, second = f"{unique}-1", f"{unique}-2"
    await version(world, first, unique, "1", stage="Production", serving=stand_in())
    served = await serving(world, eventually, first, "True")
    endpoint = served["status"]["endpoint"]
    assert served["status"]["digest"] == "digest-1"
    async with traffic(endpoint) as seen:
        await eventually(lambda: seen.told(f"models:/{unique}/1"), "answers of version 1")
        await version(world, second, unique, "2", stage="Production", serving=stand_in())
        took_over = await serving(world, eventually, second, "True")
        assert took_over["status"]["endpoint"] == endpoint
        await eventually(lambda: seen.told(f"models:/{unique}/2"), "answers of version 2")
        standing_by = await serving(world, eventually, first, "False", "StandsBy")
        assert "endpoint" not in standing_by["status"]
        back = await mlinfra("rollback", unique)
        assert back.returncode == 0, back.stderr
        await serving(world, eventually, first, "True", "Serving")
        seen.answers.clear()
        await eventually(lambda: seen.told(f"models:/{unique}/1"), "answers of version 1 again")
    assert seen.failures == []
    service = await world.kube.get(SERVICES, unique, world.namespace)
    assert {owner["name"] for owner in service["metadata"]["ownerReferences"]} == {first, second}


async def test_the_version_before_goes_after_the_rollback_window_without_a_failed_request(
    world, operator, tracking, unique, eventually
) -> None:
    register(tracking, unique, 2)
    first, second = f"{unique}-1", f"{unique}-2"
    await version(world, first, unique, "1", stage="Production", serving=stand_in(rollbackWindowSeconds=1))
    endpoint = (await serving(world, eventually, first, "True"))["status"]["endpoint"]
    await version(world, second, unique, "2", stage="Production", serving=stand_in())
    await serving(world, eventually, second, "True")
    async with traffic(endpoint, clients=1) as seen:
        await serving(world, eventually, first, "False", "NotInStage")

        async def gone() -> bool:
            selector = f"mlinfra.io/model={unique},mlinfra.io/model-version=1"
            return not (await world.kube.list(PODS, world.namespace, label_selector=selector))[0]

        await eventually(gone, "the end of version 1's pods")
    assert (seen.failures, set(seen.answers)) == ([], {f"models:/{unique}/2"})
    assert await world.kube.find(DEPLOYMENTS, first, world.namespace) is None


async def test_a_version_that_crashes_never_takes_the_service(
    world, operator, tracking, unique, eventually
) -> None:
    register(tracking, unique, 2)
    first, second = f"{unique}-1", f"{unique}-2"
    await version(world, first, unique, "1", stage="Production", serving=stand_in())
    endpoint = (await serving(world, eventually, first, "True"))["status"]["endpoint"]
    async with traffic(endpoint, clients=1) as seen:
        broken = stand_in(env=variables(CRASHES="yes"))
        await version(world, second, unique, "2", stage="Production", serving=broken)
        waiting = await serving(world, eventually, second, "False", "CrashLoopBackOff")
        message = condition(waiting, "Serving")["message"]
        assert "this version cannot start" in message
        assert "version 1 answers until they are" in message
        told = await serving(world, eventually, first, "True", "UntilReplaced")
        assert told["status"]["endpoint"] == endpoint
        await version(world, second, unique, "2", stage="Archived", serving=broken)
        await version(world, first, unique, "1", stage="Production", serving=stand_in())
        await serving(world, eventually, second, "False", "NotInStage")
        assert await world.kube.find(DEPLOYMENTS, second, world.namespace) is None
    assert (seen.failures, set(seen.answers)) == ([], {f"models:/{unique}/1"})


async def test_a_version_in_staging_is_served_beside_production_once_it_asks_for_it(
    world, operator, tracking, unique, eventually
) -> None:
    register(tracking, unique, 2)
    first, second = f"{unique}-1", f"{unique}-2"
    await version(world, first, unique, "1", stage="Production", serving=stand_in())
    production = (await serving(world, eventually, first, "True"))["status"]["endpoint"]
    await version(world, second, unique, "2", stage="Staging", serving=stand_in())
    await serving(world, eventually, second, "False", "NotInStage")
    assert await world.kube.find(DEPLOYMENTS, second, world.namespace) is None
    both = stand_in(stages=["Staging", "Production"])
    await version(world, second, unique, "2", stage="Staging", serving=both)
    staging = (await serving(world, eventually, second, "True"))["status"]["endpoint"]
    assert staging != production
    async with traffic(production) as seen, traffic(staging) as tried:
        await eventually(lambda: tried.told(f"models:/{unique}/2"), "answers of version 2 in Staging")
        await eventually(lambda: seen.told(f"models:/{unique}/1"), "answers of version 1 in Production")
    assert (seen.failures, set(seen.answers)) == ([], {f"models:/{unique}/1"})
    assert (tried.failures, set(tried.answers)) == ([], {f"models:/{unique}/2"})
    async with traffic(production) as seen:
        await version(world, second, unique, "2", stage="Production", serving=both)
        await eventually(lambda: seen.told(f"models:/{unique}/2"), "answers of version 2 in Production")
    assert seen.failures == []
    moved = await serving(world, eventually, second, "True", "Serving")
    assert moved["status"]["endpoint"] == production


async def test_an_autoscaler_comes_and_goes_as_it_is_asked_for(
    world, operator, tracking, unique, eventually
) -> None:
    register(tracking, unique, 1)
    name = f"{unique}-1"
    scaled = stand_in(autoscaling={"maxReplicas": 2})
    await version(world, name, unique, "1", stage="Production", serving=scaled)
    await serving(world, eventually, name, "True")
    scaler = await world.kube.get(AUTOSCALERS, name, world.namespace)
    assert (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) == (1, 2)
    await version(world, name, unique, "1", stage="Production", serving=stand_in(replicas=2))

    async def both_ready() -> bool:
        found = await world.kube.get(DEPLOYMENTS, name, world.namespace)
        return bool(found["status"].get("readyReplicas") == 2)

    await eventually(both_ready, "two pods")
    assert await world.kube.find(AUTOSCALERS, name, world.namespace) is None
    await world.kube.delete(MODEL_VERSIONS, name, world.namespace)

    async def gone() -> bool:
        kinds = (DEPLOYMENTS, SERVICES, PODS)
        return not any([(await world.kube.list(kind, world.namespace))[0] for kind in kinds])

    # The garbage collector learns of new types every half minute.
    await eventually(gone, "Deployment, Service and pods go with their only version", seconds=120)
