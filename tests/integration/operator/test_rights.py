"""Each right of the operator is needed: without it, a request that it really makes is refused."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.conftest import quietly
from integration.operator.conftest import Cluster, operator_access
from integration.operator.manifests import condition, gated, retraining_policy, training_job
from integration.operator.rights import acting_as, grant, named, one_of_a_kind, refused, single_rights
from integration.operator.served.traffic import stand_in
from integration.operator.served.versions import register, serving, version
from mlflow import MlflowClient
from servers.fault_proxy import Fault, on

from mlinfra.kube.resource import (
    AUTOSCALERS,
    DEPLOYMENTS,
    PODS,
    RETRAINING_POLICIES,
    ROLES,
    SERVICES,
    TRAINING_JOBS,
)
from mlinfra.local.cluster import LocalCluster
from mlinfra.local.operator_access import NAMESPACE_RULES, RULES, SERVICE_ACCOUNT
from mlinfra.local.state import ClusterState
from mlinfra.resources.names import RETRAIN_ANNOTATION, TRAINING_JOB_LABEL

CREATED = ("/jobs", "/modelversions", "/trainingjobs", "/events")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """A control plane that offers all that there are rights for."""
    state = ClusterState(tmp_path_factory.mktemp("clusters"), "rights")
    cluster = LocalCluster(state, durable=False, with_node=False, gang_scheduling=True)

    async def start() -> None:
        with cluster.session("pytest") as session:
            await cluster.up(session, quietly)

    try:
        asyncio.run(start())
        yield cluster
    finally:
        cluster.down(delete=True)


@pytest.fixture(scope="module")
def operator_kubeconfig(cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return operator_access(cluster, tmp_path_factory.mktemp("access"))


async def trains_together_and_is_suspended(world: Cluster, name: str) -> None:
    await world.apply(training_job(name, numNodes=2, gangScheduling=True))
    await world.job(name)
    await world.kube.merge_patch(TRAINING_JOBS, name, {"spec": {"suspend": True}}, world.namespace)
    await world.phase(name, "Suspended")


async def retrains_on_request(world: Cluster, name: str, eventually: Any) -> None:
    policy = retraining_policy(name)
    policy["spec"]["trainingJobTemplate"]["spec"]["suspend"] = True
    policy["metadata"]["annotations"] = {RETRAIN_ANNOTATION: "once"}
    await world.apply(policy)

    async def told() -> bool:
        found = await world.kube.get(RETRAINING_POLICIES, name, world.namespace)
        return bool((found.get("status") or {}).get("active"))

    await eventually(told, "the policy tells of its training")


async def trains_and_trains_again(world: Cluster, tracking: MlflowClient, name: str, eventually: Any) -> None:
    """Twice: the second version takes the first one's place."""
    for training in (name, f"{name}-again"):
        await world.apply(training_job(training, name, ttlSecondsAfterFinished=1, **gated(0.8)))
        await world.train(tracking, training, 0.9)

        async def gone(training: str = training) -> bool:
            return await world.kube.find(TRAINING_JOBS, training, world.namespace) is None

        await eventually(gone, "the TrainingJob is deleted")
    await world.version_phase(f"{name}-2", "Production")
    await world.version_phase(f"{name}-1", "Archived")


async def one_version_serves_after_the_other(
    world: Cluster, tracking: MlflowClient, model: str, eventually: Any
) -> None:
    register(tracking, model, 2)
    first, second = f"{model}-1", f"{model}-2"
    scaled = stand_in(autoscaling={"maxReplicas": 2})
    await version(world, first, model, "1", stage="Production", serving=scaled)
    await pods_start(world, model, "1", eventually)
    await serving(world, eventually, first, "True")
    fixed = stand_in(rollbackWindowSeconds=1)
    await version(world, first, model, "1", stage="Production", serving=fixed)

    async def fixed_now() -> bool:
        return await world.kube.find(AUTOSCALERS, first, world.namespace) is None

    await eventually(fixed_now, "the autoscaler is deleted")
    await version(world, second, model, "2", stage="Production", serving=fixed)
    await pods_start(world, model, "2", eventually)
    await serving(world, eventually, second, "True")
    await world.version_phase(first, "Archived")

    async def gone() -> bool:
        return await world.kube.find(DEPLOYMENTS, first, world.namespace) is None

    await eventually(gone, "the Deployment of the version before is deleted")


async def delete_peer_services(world: Cluster) -> None:
    for service in (await world.kube.list(SERVICES, world.namespace, label_selector=TRAINING_JOB_LABEL))[0]:
        await world.kube.delete(SERVICES, service["metadata"]["name"], world.namespace)


async def pods_start(world: Cluster, model: str, number: str, eventually: Any) -> None:
    """The pods of a Deployment are ready, as a kubelet would tell."""
    selector = f"mlinfra.io/model={model},mlinfra.io/model-version={number}"

    async def there() -> list[dict[str, Any]]:
        return (await world.kube.list(PODS, world.namespace, label_selector=selector))[0]

    ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    for pod in await eventually(there, f"pods of version {number}"):
        name = pod["metadata"]["name"]
        await world.kube.merge_patch(PODS, name, {"status": ready}, world.namespace, subresource="status")


async def test_each_right_is_needed_and_none_is_missing(
    world, proxied_operator, proxy, tracking, unique, eventually
) -> None:
    for part in CREATED:
        # The answer is lost: the operator looks what its request has left.
        proxy.inject(Fault(on("POST", part), 409, carried_out=True))
    proxied_operator.environment["MLINFRA_LEADER_ELECTION"] = "true"
    proxied_operator.start()
    await proxied_operator.ready()
    await trains_together_and_is_suspended(world, f"{unique}-gang")
    await retrains_on_request(world, f"{unique}-policy", eventually)
    await trains_and_trains_again(world, tracking, f"{unique}-trained", eventually)
    await one_version_serves_after_the_other(world, tracking, f"{unique}-served", eventually)
    assert await asyncio.to_thread(proxied_operator.stop) == 0
    assert [request for request in proxy.seen if request.status == 403] == []
    # To apply what is there takes no right to create it.
    await world.kube.delete(DEPLOYMENTS, f"{unique}-served-2", world.namespace)
    await delete_peer_services(world)
    requests, rights = one_of_a_kind(proxy.seen), single_rights(RULES)
    await grant(world.kube, "all", rights)
    async with acting_as(world.kube, "all", eventually) as client:
        assert await refused(client, requests) == []
    unneeded = []
    for number, right in enumerate(rights):
        user = f"without-{number}"
        await grant(world.kube, user, [each for each in rights if each is not right])
        async with acting_as(world.kube, user, eventually) as client:
            if not await refused(client, requests):
                unneeded.append(named(right))
    assert unneeded == []


async def test_what_a_missing_right_prevents_is_told_and_done_once_it_is_granted(
    world, namespaced_operator, tracking, unique, eventually
) -> None:
    rights = single_rights(NAMESPACE_RULES)
    missing = ("create jobs", "create trainingjobs", "create deployments")
    await world.kube.merge_patch(
        ROLES,
        SERVICE_ACCOUNT,
        {"rules": [right for right in rights if named(right) not in missing]},
        world.namespace,
    )
    namespaced_operator.start()
    await namespaced_operator.ready()
    await world.apply(training_job(unique))
    policy = retraining_policy(f"{unique}-policy")
    policy["metadata"]["annotations"] = {RETRAIN_ANNOTATION: "once"}
    await world.apply(policy)
    register(tracking, f"{unique}-served", 1)
    served = f"{unique}-served-1"
    await version(world, served, f"{unique}-served", "1", stage="Production", serving=stand_in())

    async def not_created() -> str | None:
        found = await world.training_job(unique)
        told = condition(found, "Reconciling") if found.get("status") else {}
        return told["message"] if told.get("reason") == "JobNotCreated" else None

    assert 'cannot create resource "jobs"' in await eventually(not_created, "the Job is refused")

    async def held() -> str | None:
        found = await world.kube.get(RETRAINING_POLICIES, f"{unique}-policy", world.namespace)
        told = condition(found, "Ready") if found.get("status") else {}
        return told["message"] if told.get("reason") == "TrainingJobNotCreated" else None

    assert 'cannot create resource "trainingjobs"' in await eventually(held, "the training is refused")
    forbidden = await serving(world, eventually, served, "False", "Forbidden")
    assert 'cannot create resource "deployments"' in condition(forbidden, "Serving")["message"]
    await world.kube.merge_patch(ROLES, SERVICE_ACCOUNT, {"rules": rights}, world.namespace)
    await world.job(unique)
    await pods_start(world, f"{unique}-served", "1", eventually)
    await serving(world, eventually, served, "True")
