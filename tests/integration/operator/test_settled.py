"""Nothing is written about what is settled: not at rest, not on news without meaning, not after a restart."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from integration.operator.conftest import OperatorProcess
from integration.operator.manifests import gated, training_job, watched_policy
from integration.operator.policy_status import ask, healthy, only_training, reaches
from integration.operator.scraping import scrape
from servers.fault_proxy import FaultProxy, Seen
from servers.mlflow_server import free_port

from mlinfra.kube.resource import MODEL_VERSIONS, RETRAINING_POLICIES, TRAINING_JOBS, ResourceType

Object = dict[str, Any]
KINDS: dict[str, ResourceType] = {
    "TrainingJob": TRAINING_JOBS,
    "ModelVersion": MODEL_VERSIONS,
    "RetrainingPolicy": RETRAINING_POLICIES,
}
Looked = Callable[[Counter[str]], Awaitable[Counter[str]]]


@pytest.fixture
def looked(proxied_operator: OperatorProcess, eventually: Any) -> Looked:
    """Waits until the operator has looked at so many more of each kind, and has nothing more to do now."""
    address = f"127.0.0.1:{free_port()}"
    proxied_operator.environment["MLINFRA_METRICS_ADDRESS"] = address
    # On a busy machine a second without a word is no dead watch: it would start over and count anew.
    del proxied_operator.environment["MLINFRA_WATCH_SILENCE_SECONDS"]

    async def wait(least: Counter[str]) -> Counter[str]:
        async def enough() -> Counter[str] | None:
            looks, depth = Counter[str](), 1.0
            for sample in await scrape(address):
                if sample.name == "mlinfra_reconcile_duration_seconds_count":
                    looks[sample.labels["kind"]] = int(sample.value)
                elif sample.name == "mlinfra_workqueue_depth":
                    depth = sample.value
            return looks if depth == 0 and looks >= least else None

        found: Counter[str] = await eventually(enough, f"the operator has looked {least} times")
        return found

    return wait


def writes(proxy: FaultProxy, since: int) -> list[Seen]:
    return [seen for seen in proxy.seen[since:] if seen.method != "GET"]


async def settle(world: Any, tracking: Any, name: str, eventually: Any, prometheus: str) -> None:
    """A policy whose version is well in Production, one below its gate, and a suspended training."""
    policy = watched_policy(
        name,
        prometheus,
        drift="vector(0.1)",
        accuracy="vector(0.9)",
        interval=3600,
        schedule="0 3 1 1 *",
        timeZone="Europe/Berlin",
        rollback={"observationSeconds": 3600, "maxLoss": 0.1},
    )
    await world.apply(policy)
    await healthy(world, eventually, name, "Healthy")
    await ask(world, name, "1")
    trained = (await only_training(world, name, eventually))["metadata"]["name"]
    await world.train(tracking, trained, 0.9)
    await world.version_phase(f"{name}-1", "Production")
    await reaches(world, name, "Idle", eventually)
    await world.apply(training_job(f"{name}-failed", **gated(0.8)))
    await world.train(tracking, f"{name}-failed", 0.7)
    await world.version_phase(f"{name}-failed-1", "GatesFailed")
    await world.apply(training_job(f"{name}-waits", suspend=True))
    await world.phase(f"{name}-waits", "Suspended")


async def objects(world: Any) -> dict[str, list[Object]]:
    return {kind: (await world.kube.list(resource, world.namespace))[0] for kind, resource in KINDS.items()}


async def test_what_is_settled_is_not_written_again(
    world, proxied_operator, proxy, prometheus, looked, tracking, unique, eventually
) -> None:
    proxied_operator.start()
    await proxied_operator.ready()
    await settle(world, tracking, unique, eventually, prometheus)
    await looked(Counter())
    before, since = await objects(world), len(proxy.seen)
    there = Counter({kind: len(found) for kind, found in before.items()})
    assert there == {"TrainingJob": 3, "ModelVersion": 2, "RetrainingPolicy": 1}

    # Not in the thread of the proxy, through which it takes its leave.
    assert await asyncio.to_thread(proxied_operator.stop) == 0
    proxied_operator.start()
    await proxied_operator.ready()
    looks = await looked(there)
    assert await objects(world) == before

    # News without meaning: all are looked at once more.
    touch = {"metadata": {"annotations": {"seen": "yes"}}}
    await asyncio.gather(
        *(
            world.kube.merge_patch(KINDS[kind], obj["metadata"]["name"], touch, world.namespace)
            for kind, found in before.items()
            for obj in found
        )
    )
    await looked(looks + there)
    assert writes(proxy, since) == []
