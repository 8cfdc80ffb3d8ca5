"""Requests arrive as written, answers are read whole or as they come, and exceptions are httpx's."""

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from mlinfra.kube.transport import Connections, Request

HEAD = "HTTP/1.1 200 OK\r\n"
Handler = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


def asked(path: str = "/", **rest: Any) -> Request:
    return Request("GET", path, {}, {}, **rest)


def connections_to(server: str) -> Connections:
    return Connections(server, ssl.create_default_context(), max_connections=2, connect_seconds=5.0)


@pytest.fixture
async def connected_to() -> AsyncIterator[Callable[[Handler], Awaitable[Connections]]]:
    """Connections to a server that is asked on loopback and answers as it is told."""
    opened: list[Connections] = []
    servers: list[asyncio.Server] = []

    async def start(handler: Handler) -> Connections:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                request = await reader.readuntil(b"\r\n\r\n")
                await handler(request, writer)
            finally:
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        servers.append(server)
        host, port = server.sockets[0].getsockname()
        opened.append(connections_to(f"http://{host}:{port}"))
        return opened[-1]

    yield start
    for connections in opened:
        await connections.aclose()
    for server in servers:
        server.close()
        await server.wait_closed()


def answering(text: str, body: bytes = b"") -> Handler:
    async def handler(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(text.encode() + body)
        await writer.drain()

    return handler


async def test_an_answer_has_its_status_headers_and_body(connected_to) -> None:
    connections = await connected_to(
        answering("HTTP/1.1 409 Conflict\r\nRetry-After: 3\r\nContent-Length: 2\r\n\r\n", b"no")
    )
    answer = await connections.ask(asked("/x"))
    assert (answer.status, answer.headers.get("retry-after"), answer.content) == (409, "3", b"no")


async def test_what_is_sent_arrives_as_it_was_written(connected_to) -> None:
    seen: list[bytes] = []

    async def handler(request: bytes, writer: asyncio.StreamWriter) -> None:
        seen.append(request)
        writer.write(f"{HEAD}Content-Length: 0\r\n\r\n".encode())

    connections = await connected_to(handler)
    headers = {"Authorization": "Bearer t"}
    await connections.ask(Request("POST", "/a%3Ab", {"q": "x=1,y"}, headers, b"{}"))
    first, _, rest = seen[0].decode().partition("\r\n")
    assert first == "POST /a%3Ab?q=x%3D1%2Cy HTTP/1.1"
    assert "authorization: bearer t\r\n" in rest.lower()
    assert "content-length: 2\r\n" in rest.lower()


async def test_a_compressed_answer_is_read_once(connected_to) -> None:
    body = gzip.compress(b"text")
    headers = f"{HEAD}Content-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n"
    connections = await connected_to(answering(headers, body))
    assert (await connections.ask(asked())).content == b"text"


async def test_lines_come_as_they_are_written_and_a_watch_may_be_left(connected_to) -> None:
    async def handler(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(f"{HEAD}Transfer-Encoding: chunked\r\n\r\n4\r\none\n\r\n".encode())
        await writer.drain()
        await asyncio.Event().wait()

    connections = await connected_to(handler)
    async with connections.stream(asked()) as stream:
        assert await anext(stream.lines()) == b"one"


@pytest.mark.parametrize("text", ["", "a", "a\n", "a\n\nb", "a\nb\n", "x" * 200_000 + "\ny"])
async def test_lines_are_whole_however_they_travel(connected_to, text: str) -> None:
    async def handler(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(f"{HEAD}Content-Length: {len(text)}\r\n\r\n".encode())
        for start in range(0, len(text), 50_000):
            writer.write(text[start : start + 50_000].encode())
            await writer.drain()

    connections = await connected_to(handler)
    async with connections.stream(asked()) as stream:
        lines = [line.decode() async for line in stream.lines()]
    assert lines == text.splitlines()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", httpx.RemoteProtocolError),
        (f"{HEAD}Content-Length: 10\r\n\r\nhalf", httpx.RemoteProtocolError),
        ("nonsense\r\n\r\n", httpx.ReadError),
    ],
)
async def test_an_answer_that_breaks_off_is_a_transport_error(
    connected_to, text: str, expected: type
) -> None:
    connections = await connected_to(answering(text))
    with pytest.raises(expected):
        await connections.ask(asked())


async def test_silence_is_a_read_timeout(connected_to) -> None:
    async def handler(request: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    connections = await connected_to(handler)
    with pytest.raises(httpx.ReadTimeout):
        await connections.ask(asked(silence=0.05))


async def test_a_server_that_is_not_there_cannot_be_connected_to() -> None:
    connections = connections_to("http://127.0.0.1:1")
    with pytest.raises(httpx.ConnectError):
        await connections.ask(asked())
    await connections.aclose()
