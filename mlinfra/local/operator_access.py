"""What the operator needs in a cluster: the CRDs, its ServiceAccount and rules, and a token.

The operator of the embedded cluster runs with exactly the rules that it has elsewhere, so that a
missing one is noticed here.
"""

import asyncio
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from mlinfra.kube import KubernetesClient
from mlinfra.kube.resource import CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES, SERVICE_ACCOUNTS
from mlinfra.local.files import write_atomically
from mlinfra.resources.crd import custom_resource_definitions

INSTALLER = "mlinfra-installer"
"""Field manager of what is installed."""
NAMESPACE = "mlinfra-system"
RULES, NAMESPACE_RULES, ADMISSION = "rbac.yaml", "rbac-namespace.yaml", "admission.yaml"
SERVICE_ACCOUNT = "mlinfra-operator"
TOKEN_SECONDS = 30 * 24 * 3600
"""Each `mlinfra up` renews the token; the API server may shorten its life."""
ESTABLISH_SECONDS = 30.0


async def install_custom_resources(client: KubernetesClient) -> None:
    """Apply the CRDs and wait until the API server serves them.

    Raises:
        TimeoutError: it does not within `ESTABLISH_SECONDS`.
    """
    definitions = custom_resource_definitions()
    for definition in definitions:
        await client.apply(definition, field_manager=INSTALLER)
    async with asyncio.timeout(ESTABLISH_SECONDS):
        for definition in definitions:
            while not _is_established(
                await client.get(CUSTOM_RESOURCE_DEFINITIONS, definition["metadata"]["name"])
            ):
                await asyncio.sleep(0.05)


def _is_established(definition: dict[str, Any]) -> bool:
    conditions = definition.get("status", {}).get("conditions") or []
    return any(found["type"] == "Established" and found["status"] == "True" for found in conditions)


async def install_operator_access(client: KubernetesClient) -> None:
    """Apply the operator's namespace, ServiceAccount and rules, and who may approve."""
    await client.apply(
        {"apiVersion": NAMESPACES.api_version, "kind": NAMESPACES.kind, "metadata": {"name": NAMESPACE}},
        field_manager=INSTALLER,
    )
    for manifest in (*operator_manifests(RULES), *operator_manifests(ADMISSION)):
        await client.apply(manifest, field_manager=INSTALLER)


async def install_namespace_access(client: KubernetesClient, namespace: str) -> None:
    """Apply the ServiceAccount and rules of an operator that works in its own namespace alone."""
    for manifest in operator_manifests(NAMESPACE_RULES):
        manifest["metadata"]["namespace"] = namespace
        for subject in manifest.get("subjects", ()):
            subject["namespace"] = namespace
        await client.apply(manifest, field_manager=INSTALLER)


def operator_manifests(file: str) -> list[dict[str, Any]]:
    """The manifests of a file that comes with the operator."""
    text = files("mlinfra_operator").joinpath("manifests", file).read_text()
    return list(yaml.safe_load_all(text))


async def write_operator_kubeconfig(
    client: KubernetesClient, *, path: Path, certificate_authority: Path, namespace: str = NAMESPACE
) -> None:
    """Write a kubeconfig that logs in as the operator's ServiceAccount, with a new token beside it.

    Args:
        client: a client that may create tokens.
        path: where to write the kubeconfig; the token goes to the same name with ``.token``.
        certificate_authority: the cluster's CA certificate.
        namespace: of the ServiceAccount.

    Raises:
        ApiError: the ServiceAccount does not exist, or no token is given.
    """
    answer = await client.create(
        SERVICE_ACCOUNTS,
        {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": TOKEN_SECONDS},
        },
        namespace,
        name=SERVICE_ACCOUNT,
        subresource="token",
    )
    token_path = path.with_suffix(".token")
    write_atomically(token_path, answer["status"]["token"].encode())
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "operator",
        "clusters": [
            {
                "name": "local",
                "cluster": {
                    "server": client.config.server,
                    "certificate-authority": str(certificate_authority),
                },
            }
        ],
        "users": [{"name": "operator", "user": {"tokenFile": str(token_path)}}],
        "contexts": [
            {
                "name": "operator",
                "context": {"cluster": "local", "user": "operator", "namespace": namespace},
            }
        ],
    }
    write_atomically(path, yaml.safe_dump(kubeconfig).encode())
