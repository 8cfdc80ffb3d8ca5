"""A real Prometheus on a free port, that scrapes once a second."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from .debian_packages import unpacked
from .mlflow_server import free_port

START_SECONDS = 60.0


@contextmanager
def prometheus_server(folder: Path, targets: Sequence[str]) -> Iterator[str]:
    """The address of a server that ends with the block.

    Args:
        folder: of its data.
        targets: ``host:port`` of what is scraped.
    """
    port = free_port()
    scraped = {"job_name": "models", "static_configs": [{"targets": list(targets)}]}
    wanted = {"global": {"scrape_interval": "1s"}, "scrape_configs": [scraped]}
    (folder / "prometheus.yml").write_text(json.dumps(wanted))
    settings = [
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "prometheus.log").open("ab") as log:
        process = subprocess.Popen([_program(), *settings], cwd=folder, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + START_SECONDS
        url = f"http://127.0.0.1:{port}"
        while not _ready(url):
            assert process.poll() is None, (folder / "prometheus.log").read_text()
            assert time.monotonic() < deadline, "Prometheus did not answer"
            time.sleep(0.05)
        yield url
    finally:
        process.kill()
        process.wait()


def _program() -> str:
    return shutil.which("prometheus") or str(unpacked(["prometheus"]) / "usr" / "bin" / "prometheus")


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready", trust_env=False).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
