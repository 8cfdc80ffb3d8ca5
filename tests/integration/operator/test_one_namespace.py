"""An operator with a Role alone works in its own namespace, and in no other."""

import time

import pytest
from integration.operator.conftest import Cluster
from integration.operator.manifests import gated, training_job

from mlinfra.kube import ApiError, ClusterConfig, KubernetesClient
from mlinfra.kube.resource import JOBS, LEASES, NAMESPACES, SECRETS, TRAINING_JOBS


@pytest.fixture
async def elsewhere(kube: KubernetesClient) -> Cluster:
    """Another namespace."""
    name = f"elsewhere-{time.time_ns():x}"
    await kube.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return Cluster(kube, name)


async def test_a_role_is_enough_for_the_whole_path_in_one_namespace(
    world, elsewhere, namespaced_operator, tracking, unique
) -> None:
    other = await elsewhere.apply(training_job(f"{unique}-other"))
    namespaced_operator.start()
    await namespaced_operator.ready()
    await world.apply(training_job(unique, **gated(0.8)))
    await world.train(tracking, unique, 0.9)
    await world.version_phase(f"{unique}-1", "Production")
    await world.phase(unique, "Succeeded")
    lease = await world.kube.get(LEASES, f"mlinfra-operator-{world.namespace}", world.namespace)
    assert lease["spec"]["holderIdentity"] == namespaced_operator.identity
    untouched = await elsewhere.training_job(f"{unique}-other")
    assert untouched["metadata"]["resourceVersion"] == other["metadata"]["resourceVersion"]
    assert (await world.kube.list(JOBS, elsewhere.namespace))[0] == []
    log = namespaced_operator.log.read_text()
    assert "runs that nobody ended are not looked for" in log
    assert log.count("forbidden") == 1


async def test_the_role_reaches_no_other_namespace_and_no_secret(
    world, elsewhere, namespaced_operator
) -> None:
    config = ClusterConfig.from_kubeconfig(namespaced_operator.kubeconfig)
    async with KubernetesClient(config) as client:
        assert (await client.list(TRAINING_JOBS, world.namespace))[0] == []
        for resource, namespace in (
            (TRAINING_JOBS, elsewhere.namespace),
            (TRAINING_JOBS, None),
            (SECRETS, world.namespace),
        ):
            with pytest.raises(ApiError) as refused:
                await client.list(resource, namespace)
            assert refused.value.status == 403
