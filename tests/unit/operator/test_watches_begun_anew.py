"""kopf's own watch, after a server has forgotten where it ended: deletions before that are told by nobody."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import orjson
import pytest
from aiohttp import web
from kopf._cogs.clients import auth, watching
from kopf._cogs.structs import credentials, references

from mlinfra.kube import ClusterConfig
from mlinfra.kube.pulse import Pulse
from mlinfra_operator.handlers import operator_settings
from mlinfra_operator.runtime.cache import ObjectCache
from mlinfra_operator.runtime.login import Watched, connection

GROUP, VERSION, PLURAL = "mlinfra.io", "v1alpha1", "trainingjobs"
EXPIRED = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired"}}
INITIAL_END = {"annotations": {"k8s.io/initial-events-end": "true"}}


def obj(version: int) -> dict[str, Any]:
    metadata = {"namespace": "team", "name": "job", "uid": "1", "resourceVersion": str(version)}
    return {"kind": "TrainingJob", "apiVersion": f"{GROUP}/{VERSION}", "metadata": metadata}


class Server:
    """An API server of one object, that ends each watch.

    Args:
        expires: whether it tells that it forgot where the watch began, or only ends it.
    """

    def __init__(self, *, expires: bool) -> None:
        self.expires = expires
        self.asked: list[str] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        if query.get("watch") != "true":
            self.asked.append("list")
            body = {"kind": "TrainingJobList", "items": [obj(1)], "metadata": {"resourceVersion": "5"}}
            return web.json_response(body)
        response = web.StreamResponse()
        await response.prepare(request)
        if query.get("sendInitialEvents") == "true":
            self.asked.append("streamed list")
            bookmark = {"metadata": {"resourceVersion": "5", **INITIAL_END}}
            for kind, told in (("ADDED", obj(1)), ("BOOKMARK", bookmark)):
                await response.write(orjson.dumps({"type": kind, "object": told}) + b"\n")
        else:
            self.asked.append("watch")
            if self.expires:
                await response.write(orjson.dumps(EXPIRED) + b"\n")
        await response.write_eof()
        return response


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/{path:.*}", server.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def watched_by_kopf(
    server: Server, *, streaming: bool, until: Callable[[int, list[str]], bool]
) -> tuple[int, list[str]]:
    """How often the operator was told that kopf began anew, and what kopf had asked for by then."""
    anew = 0

    def began_anew() -> None:
        nonlocal anew
        anew += 1

    settings = operator_settings(60.0)
    settings.watching.initial_streaming = streaming
    settings.watching.reconnect_backoff = 0.0
    resource = references.Resource(GROUP, VERSION, PLURAL, kind="TrainingJob", namespaced=True)
    cache = ObjectCache(lambda _: None, lambda _: None)
    async with serving(server) as url:
        session = connection(
            ClusterConfig(url, ssl.create_default_context()), {PLURAL: Watched(Pulse(), cache)}, began_anew
        )
        vault = credentials.Vault({"default": session})  # type: ignore[dict-item]
        auth.vault_var.set(vault)

        async def watch() -> None:
            async for event in watching.infinite_watch(settings=settings, resource=resource, namespace=None):
                if isinstance(event, dict) and event["type"] in (None, "ADDED"):
                    cache.observe(dict(event["object"]))

        task = asyncio.create_task(watch())
        try:
            async with asyncio.timeout(10):
                while not until(anew, server.asked):
                    await asyncio.sleep(0.001)
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await vault.close()
    return anew, server.asked


@pytest.mark.parametrize(("streaming", "all_objects"), [(False, "list"), (True, "streamed list")])
async def test_the_operator_lists_again_after_410(streaming: bool, all_objects: str) -> None:
    server = Server(expires=True)
    _, asked = await watched_by_kopf(server, streaming=streaming, until=lambda anew, _: anew >= 2)
    assert asked[:5] == [all_objects, "watch", all_objects, "watch", all_objects]


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_watch_that_goes_on_needs_no_list(streaming: bool) -> None:
    server = Server(expires=False)
    anew, asked = await watched_by_kopf(server, streaming=streaming, until=lambda _, asked: len(asked) >= 5)
    assert (anew, asked[1:5]) == (0, ["watch"] * 4)
