"""Answers and exceptions are httpx's, whoever holds the connections."""

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest

from mlinfra.kube.transport import AiohttpTransport

HEAD = "HTTP/1.1 200 OK\r\n"
Handler = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
async def client_of() -> AsyncIterator[Callable[[Handler], Awaitable[httpx.AsyncClient]]]:
    """A client of a server that is asked on loopback and answers as it is told."""
    opened: list[httpx.AsyncClient] = []
    servers: list[asyncio.Server] = []

    async def start(handler: Handler) -> httpx.AsyncClient:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                request = await reader.readuntil(b"\r\n\r\n")
                await handler(request, writer)
            finally:
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        servers.append(server)
        host, port = server.sockets[0].getsockname()
        transport = AiohttpTransport(ssl.create_default_context(), max_connections=2)
        client = httpx.AsyncClient(base_url=f"http://{host}:{port}", transport=transport, timeout=5.0)
        opened.append(client)
        return client

    yield start
    for client in opened:
        await client.aclose()
    for server in servers:
        server.close()
        await server.wait_closed()


def answering(text: str, body: bytes = b"") -> Handler:
    async def handler(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(text.encode() + body)
        await writer.drain()

    return handler


async def test_an_answer_has_its_status_headers_and_body(client_of) -> None:
    client = await client_of(
        answering("HTTP/1.1 409 Conflict\r\nRetry-After: 3\r\nContent-Length: 2\r\n\r\n", b"no")
    )
    answer = await client.get("/x")
    assert (answer.status_code, answer.headers["retry-after"], answer.content) == (409, "3", b"no")


async def test_what_is_sent_arrives_as_it_was_written(client_of) -> None:
    seen: list[bytes] = []

    async def handler(request: bytes, writer: asyncio.StreamWriter) -> None:
        seen.append(request)
        writer.write(f"{HEAD}Content-Length: 0\r\n\r\n".encode())

    client = await client_of(handler)
    await client.post("/a%3Ab", params={"q": "x=1,y"}, content=b"{}", headers={"Authorization": "Bearer t"})
    first, _, rest = seen[0].decode().partition("\r\n")
    assert first == "POST /a%3Ab?q=x%3D1%2Cy HTTP/1.1"
    assert "authorization: bearer t\r\n" in rest.lower()
    assert "content-length: 2\r\n" in rest.lower()


async def test_a_compressed_answer_is_read_once(client_of) -> None:
    body = gzip.compress(b"text")
    headers = f"{HEAD}Content-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n"
    client = await client_of(answering(headers, body))
    assert (await client.get("/")).content == b"text"


async def test_lines_come_as_they_are_written_and_a_watch_may_be_left(client_of) -> None:
    async def handler(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(f"{HEAD}Transfer-Encoding: chunked\r\n\r\n4\r\none\n\r\n".encode())
        await writer.drain()
        await asyncio.Event().wait()

    client = await client_of(handler)
    async with client.stream("GET", "/") as response:
        assert await anext(response.aiter_lines()) == "one"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", httpx.RemoteProtocolError),
        (f"{HEAD}Content-Length: 10\r\n\r\nhalf", httpx.RemoteProtocolError),
        ("nonsense\r\n\r\n", httpx.ReadError),
    ],
)
async def test_an_answer_that_breaks_off_is_a_transport_error(client_of, text: str, expected: type) -> None:
    client = await client_of(answering(text))
    with pytest.raises(expected):
        await client.get("/")


async def test_silence_is_a_read_timeout(client_of) -> None:
    async def handler(request: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    client = await client_of(handler)
    with pytest.raises(httpx.ReadTimeout):
        await client.get("/", timeout=httpx.Timeout(5.0, read=0.05))


async def test_a_server_that_is_not_there_cannot_be_connected_to() -> None:
    transport = AiohttpTransport(ssl.create_default_context(), max_connections=2)
    async with httpx.AsyncClient(base_url="http://127.0.0.1:1", transport=transport) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get("/")
