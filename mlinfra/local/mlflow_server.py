"""The MLflow server of the embedded cluster: SQLite and local artifacts, for one machine only."""

import sys
from collections.abc import Callable
from pathlib import Path

from mlinfra.errors import MlinfraError
from mlinfra.local.network import LOOPBACK as HOST

FIRST_PORT = 5000
PORTS_TO_TRY = 200
DATABASE = "mlflow.db"

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
        f"sqlite:///{folder / DATABASE}",
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
    if stored is not None and is_free(stored):
        return stored
    for port in candidates:
        if is_free(port):
            return port
    raise MlinfraError(
        f"MLflow: every port of {HOST} from {candidates.start} to {candidates.stop - 1} is taken; "
        "stop one of the servers that listen there"
    )


def remove_unfinished_database(folder: Path) -> None:
    """Remove the database of a server that was ended before it was ever ready.

    Its tables are created one after another: where some exist, MLflow refuses to start, and nothing was
    stored in them yet.
    """
    for path in folder.glob(f"{DATABASE}*"):
        path.unlink()
