"""The server's process: it listens before the model is loaded, and ends in order."""

import asyncio
import contextlib
import gc
import logging
import sys
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn

from mlinfra.errors import MlinfraError
from mlinfra.event_loop import loop_factory
from mlinfra.serving.connections import connection_protocol
from mlinfra.serving.errors import InvalidSettingError
from mlinfra.serving.routes import application
from mlinfra.serving.server import ModelServer
from mlinfra.serving.settings import ServingSettings

if TYPE_CHECKING:
    import grpc

logger = logging.getLogger(__name__)

SWITCH_SECONDS = 0.001
"""How long one thread may keep the others from Python: the model's waits for it to hand over its answer."""
END_SECONDS = 30
"""For requests that are being answered when the server ends."""

Say = Callable[[str], None]


class HttpServer(uvicorn.Server):
    """uvicorn, which on SIGTERM first answers for a while as not ready; ``ending`` is set after that.

    Args:
        config: of uvicorn.
        drain: called once, with the first signal.
        drain_seconds: how long it still takes connections after that; a second signal ends the wait.
    """

    def __init__(self, config: uvicorn.Config, *, drain: Callable[[], None], drain_seconds: float) -> None:
        super().__init__(config)
        self._drain = drain
        self._drain_seconds = drain_seconds
        self._signals = 0
        self.ending = asyncio.Event()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end; a signal is no failure here, so it is not raised again afterwards."""
        self._signals += 1
        if self._signals == 1:
            self._drain()
            with contextlib.suppress(RuntimeError):
                asyncio.get_running_loop().call_later(self._drain_seconds, self.end)
                return
        self.end()

    def end(self) -> None:
        """Take no more connections; answer what is there."""
        self.should_exit = True
        self.ending.set()


def serve(settings: ServingSettings, *, say: Say) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        settings: what, and where.
        say: told where the server listens, and that it is ready.

    Raises:
        MlinfraError: the model cannot be served, or the port is taken.
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_serve(settings, say))


class PortTakenError(MlinfraError):
    """The server cannot listen where it should."""


async def _serve(settings: ServingSettings, say: Say) -> None:
    server = ModelServer(settings)
    config = uvicorn.Config(
        application(server),
        http=connection_protocol(settings.connection_seconds, head_seconds=settings.body_seconds),
        host=settings.host,
        port=settings.port,
        proxy_headers=False,
        log_level="warning",
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=END_SECONDS,
        backlog=2048,
    )
    http = HttpServer(config, drain=lambda: _drain(server), drain_seconds=settings.drain_seconds)
    try:
        socket = config.bind_socket()
    except SystemExit as error:
        raise PortTakenError(_taken(settings.host, settings.port, "--port")) from error
    host, port = socket.getsockname()[:2]
    say(f"listening on http://{host}:{port}")
    serving = [http.serve(sockets=[socket])]
    if settings.grpc_port is not None:
        serving.append(_serve_grpc(_bound_grpc(server, settings.grpc_port, say), http.ending))
    listening = asyncio.gather(*serving)
    loading = asyncio.create_task(_load_and_follow(server, say))
    try:
        # Who follows an alias loads for ever: the server's end must not wait for that.
        await asyncio.wait((listening, loading), return_when=asyncio.FIRST_COMPLETED)
        if loading.done():
            loading.result()
        await listening
    finally:
        await _cancelled(loading)
        http.end()
        await listening
        await server.close()


def _bound_grpc(server: ModelServer, port: int, say: Say) -> "grpc.aio.Server":
    host = server.settings.host
    try:
        from mlinfra.serving.grpc_service import grpc_server
    except ModuleNotFoundError as error:
        raise InvalidSettingError("gRPC needs the package grpcio: pip install 'mlinfra[grpc]'") from error
    listening = grpc_server(server, grace_seconds=END_SECONDS)
    authority = f"[{host}]" if ":" in host else host
    try:
        bound = listening.add_insecure_port(f"{authority}:{port}")
    except RuntimeError as error:
        raise PortTakenError(_taken(host, port, "--grpc-port")) from error
    say(f"listening on grpc://{authority}:{bound}")
    return listening


async def _serve_grpc(listening: "grpc.aio.Server", ending: asyncio.Event) -> None:
    """Answer over gRPC until the server ends."""
    await listening.start()
    await ending.wait()
    await listening.stop(END_SECONDS)


def _taken(host: str, port: int, option: str) -> str:
    return f"port {port} of {host} cannot be listened on: another process has it; give another with {option}"


def _drain(server: ModelServer) -> None:
    server.draining = True
    server.metrics.ready.set(0)


async def _load_and_follow(server: ModelServer, say: Say) -> None:
    await server.load()
    # What is there now stays: looking through it again and again would stop every request meanwhile.
    gc.collect()
    gc.freeze()
    file = server.model.file
    say(f"ready: {file.name} version {file.version}, {file.uri}, sha256:{file.sha256}")
    await server.follow()


async def _cancelled(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, MlinfraError):
        await task
