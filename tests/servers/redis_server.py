"""A real Redis server on a free port, with its data in a folder."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from .debian_packages import unpacked
from .mlflow_server import free_port

START_SECONDS = 30.0
PACKAGES = ("redis-tools", "libjemalloc2", "liblzf1", "libatomic1")


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """The URI of a server that ends with the block."""
    argv, environ = _program()
    port = free_port()
    settings = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
    with (folder / "redis.log").open("ab") as log:
        process = subprocess.Popen(
            [*argv, *settings], executable=argv[0], env=environ, stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _answers(port):
            assert process.poll() is None, (folder / "redis.log").read_text()
            assert time.monotonic() < deadline, "Redis did not answer"
            time.sleep(0.02)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.kill()
        process.wait()


def _program() -> tuple[list[str], dict[str, str]]:
    installed = shutil.which("redis-server")
    if installed:
        return [installed], dict(os.environ)
    root = unpacked(PACKAGES)
    # Debian ships one program under several names; it looks at the name that it was called by.
    program = root / "usr" / "bin" / "redis-server"
    if not program.exists():
        program.symlink_to("redis-check-rdb")
    libraries = next((root / "usr" / "lib").glob("*-linux-gnu"))
    return [str(program)], os.environ | {"LD_LIBRARY_PATH": str(libraries)}


def _answers(port: int) -> bool:
    with redis.Redis(port=port, socket_timeout=1) as client:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
