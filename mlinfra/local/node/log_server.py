"""Logs of pods over HTTPS, as a kubelet offers them: what `kubectl logs` reads through the API server."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

from mlinfra.local.network import LOOPBACK
from mlinfra.local.node.agent import Agent

CLIENT_NAME = "kube-apiserver-kubelet-client"
"""Common name of the API server's certificate; nobody else may read logs here."""
FOLLOW_POLL_SECONDS = 0.1
CHUNK_BYTES = 65536
UNSUPPORTED = ("timestamps", "sinceSeconds", "sinceTime")


async def serve_logs(
    agent: Agent, *, port: int, certificate: Path, key: Path, client_ca: Path
) -> web.AppRunner:
    """Start the server; only holders of the API server's own certificate are answered."""
    trust = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(client_ca))
    trust.verify_mode = ssl.CERT_REQUIRED
    trust.load_cert_chain(certificate, key)
    application = web.Application(middlewares=[_only_api_server])
    logs = _Logs(agent)
    application.router.add_get("/containerLogs/{namespace}/{pod}/{container}", logs.handle)
    application.router.add_get("/healthz", _healthz)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, port, ssl_context=trust).start()
    return runner


@web.middleware
async def _only_api_server(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    peer = request.transport.get_extra_info("peercert") if request.transport else None
    names = [value for part in (peer or {}).get("subject", ()) for key, value in part if key == "commonName"]
    if names != [CLIENT_NAME]:
        raise web.HTTPForbidden(text="only the API server may read logs here")
    return await handler(request)


async def _healthz(_: web.Request) -> web.Response:
    return web.Response(text="ok")


class _Logs:
    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    async def handle(self, request: web.Request) -> web.StreamResponse:
        namespace, name = request.match_info["namespace"], request.match_info["pod"]
        container = request.match_info["container"]
        query = request.query
        if unsupported := [option for option in UNSUPPORTED if query.get(option) not in (None, "", "false")]:
            raise web.HTTPBadRequest(text=f"the local node keeps no times of log lines: {unsupported[0]}")
        worker = self._agent.worker(namespace, name)
        if worker is None:
            raise web.HTTPNotFound(text=f"pod {namespace}/{name} is not on this node")
        files = worker.files.container(container)
        path = files.previous_log if query.get("previous") == "true" else files.log
        follow = query.get("follow") == "true"
        if not path.exists() and not follow:
            raise web.HTTPNotFound(text=f"container {container} of pod {namespace}/{name} has no log")
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        limit = int(query["limitBytes"]) if "limitBytes" in query else None
        position = _tail_start(path, int(query["tailLines"])) if "tailLines" in query else 0
        while True:
            finished = worker.is_finished(container)
            chunk = _read(path, position, CHUNK_BYTES if limit is None else min(limit, CHUNK_BYTES))
            if chunk:
                await response.write(chunk)
                position += len(chunk)
                limit = None if limit is None else limit - len(chunk)
            elif finished or not follow:
                break
            else:
                await asyncio.sleep(FOLLOW_POLL_SECONDS)
            if limit == 0:
                break
        await response.write_eof()
        return response


def _read(path: Path, position: int, size: int) -> bytes:
    if not path.exists():
        return b""
    with path.open("rb") as file:
        file.seek(position)
        return file.read(size)


def _tail_start(path: Path, lines: int) -> int:
    """Where the last lines of a file begin."""
    if not path.exists():
        return 0
    with path.open("rb") as file:
        starts = [0]
        for line in file:
            starts.append(starts[-1] + len(line))
    return starts[max(0, len(starts) - 1 - lines)]
