"""What kopf hears of a watch and of a list: news, and of errors none but one."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from typing import Any

import orjson
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from mlinfra.kube import ClusterConfig
from mlinfra.kube.pulse import Pulse
from mlinfra_operator.runtime.cache import ObjectCache
from mlinfra_operator.runtime.login import LIST_AGAIN, HeardStream, Watched, connection

Object = dict[str, Any]


def obj(name: str, version: int) -> Object:
    return {"metadata": {"namespace": "team", "name": name, "uid": name, "resourceVersion": str(version)}}


def line(kind: str, changed: Object) -> bytes:
    return orjson.dumps({"type": kind, "object": changed}) + b"\n"


def watched(*known: Object) -> Watched:
    cache = ObjectCache(lambda _: None, lambda _: None)
    for each in known:
        cache.observe(each)
    return Watched(Pulse(), cache)


class Content:
    """A body that comes in pieces."""

    def __init__(self, body: bytes, cuts: list[int]) -> None:
        edges = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
        self.pieces = [body[a:b] for a, b in pairwise(edges) if b > a]

    async def iter_chunked(self, size: int) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            yield piece


async def heard(content: Content, resource: Watched) -> bytes:
    stream = HeardStream(content, resource)  # type: ignore[arg-type]  # the part that is used
    return b"".join([piece async for piece in stream.iter_chunked(1024)])


def events(draw_from: list[tuple[str, str, int]]) -> Iterator[bytes]:
    for kind, name, version in draw_from:
        yield line(kind, obj(name, version))


CUTS = st.lists(st.integers(0, 10_000), max_size=8)
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]),
        st.sampled_from(["known", "other"]),
        st.integers(1, 9),
    ),
    max_size=8,
)


@given(EVENTS, CUTS)
def test_what_is_known_as_it_is_or_newer_is_no_news(
    told: list[tuple[str, str, int]], cuts: list[int]
) -> None:
    body = b"".join(events(told))
    news = [
        (kind, name, version)
        for kind, name, version in told
        if kind in ("DELETED", "BOOKMARK") or name == "other" or version > 5
    ]
    resource = watched(obj("known", 5))
    assert asyncio.run(heard(Content(body, cuts), resource)) == b"".join(events(news))
    assert (resource.pulse.heard_at is not None) == bool(body)


@given(EVENTS, CUTS)
def test_an_error_makes_kopf_list_again_whatever_follows(
    told: list[tuple[str, str, int]], cuts: list[int]
) -> None:
    before, error = b"".join(events(told)), line("ERROR", {"kind": "Status", "code": 500})
    after = line("ADDED", obj("other", 9))
    assert asyncio.run(heard(Content(before + error + after, cuts), watched())) == before + LIST_AGAIN


async def test_what_is_cut_off_is_left_to_kopf() -> None:
    whole, half = line("ADDED", obj("a", 1)), line("ADDED", obj("b", 2))[:20]
    assert await heard(Content(whole + half, [3]), watched()) == whole + half


async def test_a_list_tells_what_is_not_known_yet() -> None:
    items = [obj("known", 5), obj("changed", 7), obj("other", 1)]

    async def answer(_: web.Request) -> web.Response:
        body = {"kind": "TrainingJobList", "items": items, "metadata": {"resourceVersion": "9"}}
        return web.Response(body=orjson.dumps(body), content_type="application/json")

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server = f"http://127.0.0.1:{runner.addresses[0][1]}"
    resources = {"trainingjobs": watched(obj("known", 5), obj("changed", 6))}
    session = connection(
        ClusterConfig(server, ssl.create_default_context()), resources, lambda: None
    ).aiohttp_session
    try:
        async with session.get(f"{server}/apis/mlinfra.io/v1alpha1/trainingjobs") as response:
            found = await response.json()
        async with session.get(f"{server}/api/v1/pods") as response:
            assert (await response.json())["items"] == items
    finally:
        await session.close()
        await runner.cleanup()
    assert [item["metadata"]["name"] for item in found["items"]] == ["changed", "other"]
