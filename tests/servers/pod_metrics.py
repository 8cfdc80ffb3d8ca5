"""Answers as metrics-server does, the same CPU for all pods, by the API server for autoscalers."""

import json
import ssl
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from mlinfra.kube import KubernetesClient
from mlinfra.kube.resource import PODS, SERVICES, ResourceType

API_SERVICES = ResourceType("apiregistration.k8s.io", "v1", "apiservices", "APIService", namespaced=False)
GROUP_VERSION = "metrics.k8s.io/v1beta1"
NAME = "v1beta1.metrics.k8s.io"
WINDOW = "10s"
Object = dict[str, Any]


class PodMetrics:
    """The server; ``millicores`` is what each pod uses."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self.millicores = 0
        self.pods: list[Object] = []
        metrics = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer = metrics.answer(unquote(urlsplit(self.path).path))
                body = json.dumps(answer or {}).encode()
                self.send_response(200 if answer else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def answer(self, path: str) -> Object | None:
        if path.rstrip("/") == f"/apis/{GROUP_VERSION}":
            pods = {"name": "pods", "singularName": "", "namespaced": True, "kind": "PodMetrics"}
            resources = [{**pods, "verbs": ["get", "list"]}]
            return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": GROUP_VERSION} | {
                "resources": resources
            }
        if not path.endswith("/pods"):
            return None
        items = [self._usage(pod["metadata"]) for pod in self.pods]
        return {"kind": "PodMetricsList", "apiVersion": GROUP_VERSION, "metadata": {}, "items": items}

    def _usage(self, metadata: Object) -> Object:
        named = {"name": metadata["name"], "namespace": metadata["namespace"]}
        used = {"name": "server", "usage": {"cpu": f"{self.millicores}m", "memory": "1Mi"}}
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        return {"metadata": named, "timestamp": now, "window": WINDOW, "containers": [used]}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@asynccontextmanager
async def pod_metrics(
    kube: KubernetesClient, namespace: str, certificate: Path, key: Path
) -> AsyncIterator[PodMetrics]:
    """A server that the API server serves as ``metrics.k8s.io`` meanwhile."""
    metrics = PodMetrics(certificate, key)
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "pod-metrics"},
        "spec": {"type": "ExternalName", "externalName": "localhost"},
    }
    spec = {
        "group": "metrics.k8s.io",
        "version": "v1beta1",
        "groupPriorityMinimum": 100,
        "versionPriority": 100,
        "insecureSkipTLSVerify": True,
        "service": {"name": "pod-metrics", "namespace": namespace, "port": metrics.port},
    }
    offered = {"apiVersion": API_SERVICES.api_version, "kind": "APIService", "metadata": {"name": NAME}}
    try:
        await kube.create(SERVICES, service, namespace)
        await kube.create(API_SERVICES, {**offered, "spec": spec})
        yield metrics
    finally:
        await kube.delete(API_SERVICES, NAME)
        metrics.close()


async def follow_pods(kube: KubernetesClient, namespace: str, metrics: PodMetrics) -> None:
    """Tell the server which pods there are."""
    metrics.pods = (await kube.list(PODS, namespace))[0]
