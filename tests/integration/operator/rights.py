"""The operator's rights one by one, users who have some of them, and requests made again as such a user."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import product
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
from servers.fault_proxy import Seen

from mlinfra.kube import KubernetesClient
from mlinfra.kube.resource import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES
from mlinfra.local.operator_access import operator_manifests

Object = dict[str, Any]
GROUP = "rbac.authorization.k8s.io"
CANARY = "/told-to-the-authorizer"
AT_A_TIME = 8


def single_rights(file: str) -> list[Object]:
    """The rules of a file of manifests, each of one verb on one resource."""
    return [
        {**rule, "apiGroups": [group], "resources": [resource], "verbs": [verb]}
        for manifest in operator_manifests(file)
        for rule in manifest.get("rules", ())
        for group, resource, verb in product(rule["apiGroups"], rule["resources"], rule["verbs"])
    ]


def named(right: Object) -> str:
    """Such as ``create jobs``."""
    return f"{right['verbs'][0]} {right['resources'][0]}"


async def grant(kube: KubernetesClient, user: str, rights: Sequence[Object]) -> None:
    """Grant rights in all namespaces, and one by which is seen that the API server knows of them."""
    metadata, canary = {"name": user}, {"nonResourceURLs": [CANARY], "verbs": ["get"]}
    role = {"apiVersion": f"{GROUP}/v1", "kind": "ClusterRole", "metadata": metadata}
    await kube.create(CLUSTER_ROLES, {**role, "rules": [*rights, canary]})
    binding = {
        "apiVersion": f"{GROUP}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": metadata,
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": user},
        "subjects": [{"apiGroup": GROUP, "kind": "User", "name": user}],
    }
    await kube.create(CLUSTER_ROLE_BINDINGS, binding)


@asynccontextmanager
async def acting_as(
    kube: KubernetesClient, user: str, eventually: Callable[..., Any]
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a user who has been granted rights, once the API server knows of them."""
    identity = {"Impersonate-User": user, "Impersonate-Group": "system:authenticated"}
    async with httpx.AsyncClient(
        base_url=kube.config.server, verify=kube.config.ssl_context, headers=identity, trust_env=False
    ) as client:

        async def known() -> bool:
            return (await client.get(CANARY)).status_code != 403

        await eventually(known, f"the rights of {user}")
        yield client


def one_of_a_kind(requests: Sequence[Seen]) -> list[Seen]:
    """The first request of each method on each resource; of changes, on each object."""
    kinds: dict[tuple[object, ...], Seen] = {}
    for request in requests:
        url = urlsplit(request.target)
        _, _, inside = url.path.rpartition("/namespaces/")
        resource, name, subresource = (*inside.split("/")[1:], "", "", "")[:3] if inside else ("", "", "")
        one_kind = resource and request.method != "PATCH"
        where = (resource, bool(name), subresource) if one_kind else url.path
        kinds.setdefault((request.method, where, "watch=true" in url.query), request)
    return list(kinds.values())


async def refused(client: httpx.AsyncClient, requests: Sequence[Seen]) -> list[Seen]:
    """Which of the requests the user may not make; nothing is changed by the others."""
    limit = asyncio.Semaphore(AT_A_TIME)

    async def is_refused(request: Seen) -> bool:
        url = urlsplit(request.target)
        query = dict(parse_qsl(url.query))
        if request.method != "GET":
            query["dryRun"] = "All"
        target = f"{url.path}?{urlencode(query)}"
        headers = {"Content-Type": request.content_type}
        async with (
            limit,
            client.stream(request.method, target, content=request.body, headers=headers) as answer,
        ):
            return answer.status_code == 403

    told = await asyncio.gather(*map(is_refused, requests))
    return [request for request, is_so in zip(requests, told, strict=True) if is_so]
