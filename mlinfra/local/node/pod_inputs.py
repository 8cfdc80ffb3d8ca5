"""What a pod refers to in the API, read before it starts: Secrets, ConfigMaps, tokens."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlinfra.kube import KubernetesClient
from mlinfra.kube.resource import CONFIG_MAPS, SECRETS, SERVICE_ACCOUNTS
from mlinfra.local.node.environment import Document
from mlinfra.local.node.volumes import TokenFile, secret_data

REFRESH_SHARE = 0.8
"""A token is renewed when so much of its life has passed, as a kubelet does."""

TYPES = {"Secret": SECRETS, "ConfigMap": CONFIG_MAPS}


@dataclass(frozen=True, slots=True)
class Token:
    """A ServiceAccount token and when to renew it, in seconds since the epoch."""

    value: str
    renew_at: float


def references_of(pod: Document) -> set[tuple[str, str]]:
    """Kind and name of every Secret and ConfigMap that a pod's volumes and environment refer to."""
    found: set[tuple[str, str]] = set()

    def note(kind: str, reference: Mapping[str, Any] | None, key: str = "name") -> None:
        if reference:
            found.add((kind, reference[key]))

    for volume in pod["spec"].get("volumes") or []:
        note("Secret", volume.get("secret"), "secretName")
        note("ConfigMap", volume.get("configMap"))
        for source in (volume.get("projected") or {}).get("sources") or []:
            note("Secret", source.get("secret"))
            note("ConfigMap", source.get("configMap"))
    for container in pod["spec"]["containers"]:
        for source in container.get("envFrom") or []:
            note("Secret", source.get("secretRef"))
            note("ConfigMap", source.get("configMapRef"))
        for variable in container.get("env") or []:
            source = variable.get("valueFrom") or {}
            note("Secret", source.get("secretKeyRef"))
            note("ConfigMap", source.get("configMapKeyRef"))
    return found


async def read_references(
    client: KubernetesClient, pod: Document
) -> dict[tuple[str, str], dict[str, str] | None]:
    """Keys and values of each reference; None for one that does not exist."""
    values: dict[tuple[str, str], dict[str, str] | None] = {}
    for kind, name in sorted(references_of(pod)):
        found = await client.find(TYPES[kind], name, pod["metadata"]["namespace"])
        if found is None:
            values[kind, name] = None
        else:
            values[kind, name] = secret_data(found) if kind == "Secret" else dict(found.get("data") or {})
    return values


async def read_tokens(
    client: KubernetesClient, pod: Document, files: Sequence[TokenFile]
) -> dict[TokenFile, Token]:
    """A new token for each file, bound to the pod so that it dies with it."""
    metadata, account = pod["metadata"], pod["spec"].get("serviceAccountName") or "default"
    tokens = {}
    for file in files:
        spec: dict[str, Any] = {
            "expirationSeconds": file.expiration_seconds,
            "boundObjectRef": {
                "apiVersion": "v1",
                "kind": "Pod",
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
        }
        if file.audience:
            spec["audiences"] = [file.audience]
        answer = await client.create(
            SERVICE_ACCOUNTS,
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec},
            metadata["namespace"],
            name=account,
            subresource="token",
        )
        renew_at = time.time() + REFRESH_SHARE * file.expiration_seconds
        tokens[file] = Token(answer["status"]["token"], renew_at)
    return tokens
