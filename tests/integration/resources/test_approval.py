"""Who may approve: the admission policy and RBAC identities on the real API server, without an operator."""

import json
from collections.abc import Iterator
from itertools import count
from typing import Any

import httpx
import pytest
from integration.operator.conftest import wait_for
from integration.operator.manifests import model_version
from integration.operator.rights import acting_as, grant
from integration.resources.conftest import NAMESPACE, ApiServer, Manifest

from mlinfra.kube import ClusterConfig, KubernetesClient
from mlinfra.kube.resource import MODEL_VERSIONS
from mlinfra.local.cluster import LocalCluster
from mlinfra.local.operator_access import ADMISSION, NAMESPACE_RULES, RULES, operator_manifests

NAME = "tides-1"
NUMBERS = count()
DECIDED: dict[str, Manifest] = {
    "absent": {},
    "approved": {"approval": "Approved"},
    "rejected": {"approval": "Rejected"},
}


@pytest.fixture
async def kube(api: ApiServer, cluster: LocalCluster) -> Any:
    async with KubernetesClient(ClusterConfig.from_kubeconfig(cluster.kubeconfig)) as client:
        for manifest in operator_manifests(ADMISSION):
            await client.apply(manifest, field_manager="test")
        yield client


@pytest.fixture(autouse=True)
def nothing_left(api: ApiServer) -> Iterator[None]:
    yield
    api.delete(MODEL_VERSIONS, NAME)


def rights(*verbs: str) -> list[Manifest]:
    return [{"apiGroups": ["mlinfra.io"], "resources": ["modelversions"], "verbs": list(verbs)}]


def operator_rights(file: str) -> list[Manifest]:
    """The rules of the operator's first role."""
    return next(list(each["rules"]) for each in operator_manifests(file) if each.get("rules"))


async def apply(client: httpx.AsyncClient, **spec: Any) -> httpx.Response:
    """As kubectl apply --server-side and Argo CD do."""
    return await client.patch(
        MODEL_VERSIONS.path(NAMESPACE, NAME),
        params={"fieldManager": "gitops", "force": "true"},
        content=json.dumps(model_version(NAME, "tides", stage="Production", **spec)),
        headers={"Content-Type": "application/apply-patch+yaml"},
    )


async def create(client: httpx.AsyncClient, **spec: Any) -> httpx.Response:
    return await client.post(
        MODEL_VERSIONS.path(NAMESPACE),
        json=model_version(NAME, "tides", stage="Production", **spec),
        params={"dryRun": "All"},
    )


async def enforced(client: httpx.AsyncClient) -> None:
    """The API server knows the policy: it is told of it as by a watch."""

    async def refuses() -> bool:
        return (await create(client)).status_code == 403

    await wait_for(refuses, "the policy is enforced")


async def test_to_create_what_waits_for_nobody_takes_the_verb(kube: KubernetesClient) -> None:
    user = f"editor-{next(NUMBERS)}"
    await grant(kube, user, rights("get", "create", "patch", "delete"))
    async with acting_as(kube, user, wait_for) as client:
        await enforced(client)
        for spec in DECIDED.values():
            for answer in (await create(client, **spec), await apply(client, **spec)):
                assert answer.status_code == 403
                assert "you need the verb approve" in answer.json()["message"]
        assert (await apply(client, approval="PendingManualApproval")).status_code == 201
        # What was decided is not decided again by an edit of anything else.
        labelled = await client.patch(
            MODEL_VERSIONS.path(NAMESPACE, NAME),
            content=json.dumps({"metadata": {"labels": {"seen": "yes"}}}),
            headers={"Content-Type": "application/merge-patch+json"},
        )
        assert labelled.status_code == 200
        assert (await apply(client, approval="Approved")).status_code == 403


async def test_who_has_the_verb_creates_anew_what_was_approved(kube: KubernetesClient) -> None:
    user = f"gitops-{next(NUMBERS)}"
    await grant(kube, user, rights("get", "create", "patch", "delete", "approve"))
    async with acting_as(kube, user, wait_for) as client:
        for _ in range(2):
            assert (await apply(client, approval="Approved")).status_code == 201
            assert (await apply(client, approval="Approved")).status_code == 200
            assert (await client.delete(MODEL_VERSIONS.path(NAMESPACE, NAME))).status_code == 200


@pytest.mark.parametrize("file", [RULES, NAMESPACE_RULES])
async def test_the_operators_own_rules_let_it_create_versions(kube: KubernetesClient, file: str) -> None:
    own, user = operator_rights(file), f"operator-{next(NUMBERS)}"
    await grant(kube, user, own)
    async with acting_as(kube, user, wait_for) as client:
        assert {(await create(client, **spec)).status_code for spec in DECIDED.values()} == {201}
    lacking = f"{user}-lacking"
    await grant(kube, lacking, [{**rule, "verbs": sorted({*rule["verbs"]} - {"approve"})} for rule in own])
    async with acting_as(kube, lacking, wait_for) as client:
        await enforced(client)
        assert (await create(client, approval="PendingManualApproval")).status_code == 201
