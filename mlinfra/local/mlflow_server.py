"""The MLflow server of the embedded cluster: SQLite and local artifacts, for one machine only."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import httpx

from mlinfra.errors import MlinfraError
from mlinfra.local.network import LOOPBACK as HOST

FIRST_PORT = 5000
PORTS_TO_TRY = 200

ENVIRONMENT = {
    # Without its job runners the server starts in half the time and memory.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
}


def mlflow_server_argv(*, folder: Path, port: int) -> list[str]:
    """The command of the server; artifacts go through it, so that clients need no store of their own.

    Args:
        folder: where the database and the artifacts lie.
        port: the port to listen on, on the loopback address only.
    """
    return [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--host",
        HOST,
        "--port",
        str(port),
        "--workers",
        "1",
        "--backend-store-uri",
        f"sqlite:///{folder / 'mlflow.db'}",
        "--artifacts-destination",
        str(folder / "artifacts"),
        "--allowed-hosts",
        ",".join(f"{name}:{port}" for name in (HOST, "localhost")),
    ]


def choose_port(stored: int | None, *, is_free: Callable[[int], bool]) -> int:
    """The port used before if it is still free, else the first free one from `FIRST_PORT`.

    Raises:
        MlinfraError: all of them are taken.
    """
    candidates = range(FIRST_PORT, FIRST_PORT + PORTS_TO_TRY)
    port = next((port for port in (*([stored] if stored else []), *candidates) if is_free(port)), None)
    if port is None:
        raise MlinfraError(
            f"MLflow: every port of {HOST} from {candidates.start} to {candidates.stop - 1} is taken; "
            "stop one of the servers that listen there"
        )
    return port


async def wait_until_healthy(url: str, *, poll_seconds: float = 0.1) -> None:
    """Wait for the server's ``/health``; the caller bounds the time."""
    async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
        while True:
            try:
                if (await http.get("/health")).status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                # Not listening yet; the caller notices a server that died.
                pass
            await asyncio.sleep(poll_seconds)
