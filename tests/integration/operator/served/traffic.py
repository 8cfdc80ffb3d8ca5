"""A stand-in for the model server, and clients that never stop asking."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

Object = dict[str, Any]

SERVER = """
import http.server, json, os, signal, sys, threading, time
if os.environ.get("CRASHES"):
    sys.exit("this version cannot start")
NAME = os.environ["MLINFRA_SERVED_MODEL"]
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self):
        told = {"model": NAME, "digest": os.environ.get("MLINFRA_SERVED_DIGEST")}
        length = int(self.headers.get("Content-Length") or 0)
        if self.path.endswith("/monitoring"):
            told = json.loads(os.environ.get("REPORT", "{}"))
            told["asked"] = json.loads(self.rfile.read(length))
        body = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if leaves.is_set():
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
    do_GET = do_POST = answer
    def log_message(self, *_):
        pass
address = (os.environ["MLINFRA_SERVING_HOST"], int(os.environ["PORT"]))
server = http.server.ThreadingHTTPServer(address, Handler)
leaves = threading.Event()
def leave():
    # Who keeps a connection is told so with the next answer, and not by its end.
    leaves.set()
    time.sleep(1)
    server.shutdown()
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=leave).start())
server.serve_forever()
"""


def stand_in(**fields: Any) -> Object:
    """The serving of a version whose server only tells its name."""
    return {"command": [sys.executable, "-c", SERVER], **fields}


def variables(**values: Any) -> list[Object]:
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}
    return [{"name": name, "value": value} for name, value in texts.items()]


@dataclass(slots=True)
class Traffic:
    """What clients of an endpoint have seen: the model's URI of each answer, in order, and each failure."""

    answers: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    async def told(self, model: str) -> bool:
        return model in self.answers[-10:]


Question = Callable[[httpx.AsyncClient], Awaitable[str]]


@asynccontextmanager
async def keep_asking(question: Question, seen: Traffic, *, clients: int = 4) -> AsyncIterator[None]:
    """Several clients that ask one request after the other, half of them on a connection that they keep."""

    async def ask(client: httpx.AsyncClient) -> None:
        try:
            seen.answers.append(await question(client))
        except httpx.HTTPError as error:
            seen.failures.append(f"{type(error).__name__}: {error}")
        await asyncio.sleep(0.005)

    async def go_on(*, keep: bool) -> None:
        limits = httpx.Limits(max_keepalive_connections=1 if keep else 0)
        async with httpx.AsyncClient(trust_env=False, limits=limits) as client:
            while True:
                await ask(client)

    asking = [asyncio.create_task(go_on(keep=number % 2 == 1)) for number in range(clients)]
    try:
        yield
    finally:
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)


@asynccontextmanager
async def traffic(url: str, *, clients: int = 4) -> AsyncIterator[Traffic]:
    """Clients that ask the stand-in for its name."""

    async def ask(client: httpx.AsyncClient) -> str:
        answer = await client.get(f"{url}/v2/models/any")
        answer.raise_for_status()
        return str(answer.json()["model"])

    seen = Traffic()
    async with keep_asking(ask, seen, clients=clients):
        yield seen
