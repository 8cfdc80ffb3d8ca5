"""A version takes a share of the requests first: measured by who answers, under load that never fails."""

from collections import Counter
from typing import Any

from integration.operator.manifests import condition, retraining_policy
from integration.operator.served.traffic import Traffic, stand_in, traffic, variables
from integration.operator.served.versions import register, serving, version

from mlinfra.kube.resource import DEPLOYMENTS, MODEL_VERSIONS, PODS, RETRAINING_POLICIES, SERVICES

Object = dict[str, Any]
ANSWERS = 200
LONG = {"percent": 25, "seconds": 3600}


async def two_versions(
    world: Any, eventually: Any, tracking: Any, model: str, canary: Object, *, percent: int = 25
) -> str:
    """Version 1 with three pods, and version 2 as a canary beside it; the endpoint of both."""
    register(tracking, model, 3)
    await version(world, f"{model}-1", model, "1", stage="Production", serving=stand_in(replicas=3))
    served = await serving(world, eventually, f"{model}-1", "True")
    await version(world, f"{model}-2", model, "2", stage="Production", serving=canary)
    shares = await serving(world, eventually, f"{model}-2", "True", "Canary")
    told = shares["status"]["canary"]
    assert (told["previous"], told["percent"], told["pods"], told["previousPods"]) == ("1", percent, 1, 3)
    assert shares["status"]["endpoint"] == served["status"]["endpoint"]
    return str(served["status"]["endpoint"])


async def says(world: Any, eventually: Any, name: str, message: str) -> None:
    async def told() -> bool:
        found = await world.kube.get(MODEL_VERSIONS, name, world.namespace)
        return message in condition(found, "Serving")["message"]

    await eventually(told, f"{name} says: {message}", seconds=60)


async def share_of_version_2(seen: Traffic, model: str, eventually: Any) -> float:
    """Of the next answers to a client that connects anew each time."""
    seen.answers.clear()

    async def enough() -> bool:
        return len(seen.answers) >= ANSWERS

    await eventually(enough, f"{ANSWERS} answers", seconds=60)
    found = Counter(seen.answers)
    assert set(found) <= {f"models:/{model}/1", f"models:/{model}/2"}
    return found[f"models:/{model}/2"] / found.total()


async def test_a_canary_has_its_share_and_takes_over_without_a_failed_request(
    world, operator, tracking, unique, eventually
) -> None:
    shares = stand_in(replicas=2, canary=LONG)
    second = f"{unique}-2"
    endpoint = await two_versions(world, eventually, tracking, unique, shares)
    await says(world, eventually, f"{unique}-1", "it answers beside version 2 until that takes over")
    async with traffic(endpoint, clients=1) as seen, traffic(endpoint) as others:
        assert 0.15 < await share_of_version_2(seen, unique, eventually) < 0.35
        before = await pods_of(world, unique, "2")
        # The time is over: the same pods go on, and one more comes.
        at_once = stand_in(replicas=2, canary={"percent": 25, "seconds": 1})
        await version(world, second, unique, "2", stage="Production", serving=at_once)
        alone = await serving(world, eventually, second, "True", "Serving")
        assert "canary" not in alone["status"]
        assert alone["status"]["tookOverAt"]
        assert before < await pods_of(world, unique, "2")
        await serving(world, eventually, f"{unique}-1", "False", "StandsBy")
        assert await share_of_version_2(seen, unique, eventually) == 1.0
    assert (seen.failures, others.failures) == ([], [])
    service = await world.kube.get(SERVICES, unique, world.namespace)
    assert service["spec"]["selector"] == {"mlinfra.io/model": unique, "mlinfra.io/model-version": "2"}


async def pods_of(world: Any, model: str, number: str) -> set[str]:
    selector = f"mlinfra.io/model={model},mlinfra.io/model-version={number}"
    pods, _ = await world.kube.list(PODS, world.namespace, label_selector=selector)
    return {pod["metadata"]["name"] for pod in pods}


async def test_a_rollback_takes_all_requests_from_a_canary_at_once(
    world, operator, tracking, unique, mlinfra, eventually
) -> None:
    first, second = f"{unique}-1", f"{unique}-2"
    endpoint = await two_versions(world, eventually, tracking, unique, stand_in(canary=LONG))
    async with traffic(endpoint) as seen:
        await eventually(lambda: seen.told(f"models:/{unique}/2"), "answers of version 2")
        back = await mlinfra("rollback", unique)
        assert back.returncode == 0, back.stderr
        await serving(world, eventually, first, "True", "Serving")
        left = await serving(world, eventually, second, "False", "NotInStage")
        assert "tookOverAt" not in left["status"]
        assert "canary" not in left["status"]

        async def gone() -> bool:
            return await world.kube.find(DEPLOYMENTS, second, world.namespace) is None

        await eventually(gone, "the canary's Deployment is deleted")
        async with traffic(endpoint, clients=1) as again:
            assert await share_of_version_2(again, unique, eventually) == 0.0
        # Another attempt is a canary again, beside the same version.
        await version(world, second, unique, "2", stage="Archived", serving=stand_in(canary=LONG))
        third = stand_in(canary={"percent": 25, "seconds": 1})
        await version(world, f"{unique}-3", unique, "3", stage="Production", serving=third)
        await serving(world, eventually, f"{unique}-3", "True", "Serving")
    assert seen.failures == []


async def test_a_canary_that_crashes_leaves_the_requests_to_the_version_before(
    world, operator, tracking, unique, eventually
) -> None:
    first, second = f"{unique}-1", f"{unique}-2"
    endpoint = await two_versions(world, eventually, tracking, unique, stand_in(canary=LONG))
    async with traffic(endpoint, clients=1) as seen:
        broken = stand_in(canary={"percent": 25, "seconds": 1}, env=variables(CRASHES="yes"))
        await version(world, second, unique, "2", stage="Production", serving=broken)
        # The pod that works stays until one of the new kind is ready, which never is.
        waits = await serving(world, eventually, second, "True", "TakingOver")
        assert waits["status"]["canary"]["previous"] == "1"
        await says(world, eventually, second, "this version cannot start")
        assert 0.15 < await share_of_version_2(seen, unique, eventually) < 0.35
        await version(world, second, unique, "2", stage="Archived", serving=broken)
        await version(world, first, unique, "1", stage="Production", serving=stand_in(replicas=3))
        await serving(world, eventually, second, "False", "NotInStage")
        assert await share_of_version_2(seen, unique, eventually) == 0.0
    assert seen.failures == []


async def test_a_policy_asks_the_canary_and_takes_it_back_where_it_does_worse(
    world, operator, tracking, unique, eventually
) -> None:
    register(tracking, unique, 2)
    first, second = f"{unique}-1", f"{unique}-2"
    good = stand_in(replicas=3, env=variables(REPORT=report("1", 0.8)))
    await version(world, first, unique, "1", stage="Production", serving=good)
    endpoint = (await serving(world, eventually, first, "True"))["status"]["endpoint"]
    watched = retraining_policy(
        unique, performance={}, rollback={"maxLoss": 0.05}, monitoring={"intervalSeconds": 1}
    )
    await world.apply(watched)

    async def policy(field: str) -> Object | None:
        found = await world.kube.get(RETRAINING_POLICIES, unique, world.namespace)
        return (found.get("status") or {}).get(field)

    await eventually(lambda: policy("productionPerformance"), "what version 1 came to")
    async with traffic(endpoint) as seen:
        bad = stand_in(canary=LONG, env=variables(REPORT=report("2", 0.6)))
        source = {"retrainingPolicy": unique, "trigger": "drift"}
        await version(world, second, unique, "2", stage="Production", serving=bad, source=source)
        breaker = await eventually(lambda: policy("circuitBreaker"), "the circuit breaker", seconds=60)
        assert breaker["version"] == "2"
        await serving(world, eventually, first, "True", "Serving")
        await serving(world, eventually, second, "False", "NotInStage")
    assert seen.failures == []


def report(number: str, accuracy: float) -> Object:
    outcome = "ok" if accuracy > 0.7 else "breached"
    result = {
        "trigger": "performance",
        "metric": "accuracy",
        "outcome": outcome,
        "score": accuracy,
        "windowEnd": "2026-01-02T00:00:00Z",
        "modelVersion": number,
    }
    return {"performance": {"result": result}}
