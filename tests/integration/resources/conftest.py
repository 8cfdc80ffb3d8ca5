"""The API server with our CRDs, asked what it thinks of a manifest."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import yaml

from mlinfra.kube import ClusterConfig
from mlinfra.kube.resource import CUSTOM_RESOURCE_DEFINITIONS, ResourceType, type_of
from mlinfra.resources.crd import manifests

Manifest = dict[str, Any]
NAMESPACE = "default"


@dataclass(frozen=True)
class ApiServer:
    """Synchronous requests, which Hypothesis needs."""

    http: httpx.Client

    def refusal(self, manifest: Manifest) -> str | None:
        """Why the API server would not create the manifest; None where it would."""
        answer = self.dry_run(manifest)
        return None if answer.status_code == 201 else str(answer.json()["message"])

    def dry_run(self, manifest: Manifest) -> httpx.Response:
        """Create without storing, as strictly as kubectl does."""
        answer = self.http.post(
            type_of(manifest).path(NAMESPACE),
            params={"dryRun": "All", "fieldValidation": "Strict"},
            content=json.dumps(manifest),
            headers={"Content-Type": "application/json"},
        )
        assert answer.status_code in (201, 400, 422), answer.text
        return answer

    def apply(self, manifest: Manifest, *, manager: str = "test") -> httpx.Response:
        return self.http.patch(
            type_of(manifest).path(NAMESPACE, manifest["metadata"]["name"]),
            params={"fieldManager": manager, "force": "true", "fieldValidation": "Strict"},
            content=json.dumps(manifest),
            headers={"Content-Type": "application/apply-patch+yaml"},
        )

    def patch(
        self, resource: ResourceType, name: str, body: Manifest, subresource: str = ""
    ) -> httpx.Response:
        return self.http.patch(
            resource.path(NAMESPACE, name, subresource or None),
            content=json.dumps(body),
            headers={"Content-Type": "application/merge-patch+json"},
        )

    def table(self, resource: ResourceType, name: str) -> dict[str, Any]:
        """The row that ``kubectl get -o wide`` prints: column to cell."""
        accept = "application/json;as=Table;v=v1;g=meta.k8s.io"
        table = self.http.get(resource.path(NAMESPACE, name), headers={"Accept": accept}).json()
        columns = [column["name"] for column in table["columnDefinitions"]]
        return dict(zip(columns, table["rows"][0]["cells"], strict=True))

    def delete(self, resource: ResourceType, name: str) -> None:
        self.http.delete(resource.path(NAMESPACE, name))


@pytest.fixture(scope="session")
def api(cluster: Any) -> Iterator[ApiServer]:
    config = ClusterConfig.from_kubeconfig(cluster.kubeconfig)
    token = config.token()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with httpx.Client(
        base_url=config.server, verify=config.ssl_context, headers=headers, trust_env=False
    ) as http:
        api = ApiServer(http)
        for text in manifests().values():
            definition = yaml.safe_load(text)
            applied = api.http.patch(
                CUSTOM_RESOURCE_DEFINITIONS.path(name=definition["metadata"]["name"]),
                params={"fieldManager": "test", "force": "true"},
                content=text,
                headers={"Content-Type": "application/apply-patch+yaml"},
            )
            assert applied.status_code in (200, 201), applied.text
            _wait_until_served(api, definition)
        yield api


def _wait_until_served(api: ApiServer, definition: Manifest) -> None:
    deadline = time.monotonic() + 30
    path = f"/apis/mlinfra.io/v1alpha1/{definition['spec']['names']['plural']}"
    while api.http.get(path).status_code != 200:
        assert time.monotonic() < deadline, f"{path} was not served within 30 s"
        time.sleep(0.05)
