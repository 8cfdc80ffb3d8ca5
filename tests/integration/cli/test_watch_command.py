"""``mlinfra watch`` on a real API server: lines in a pipe, a table on a terminal, Ctrl-C ends it in order."""

import asyncio
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mlinfra.kube import ClusterConfig, KubernetesClient
from mlinfra.kube.resource import NAMESPACES, TRAINING_JOBS
from mlinfra.local.cluster import LocalCluster
from mlinfra.local.operator_access import install_custom_resources

PATIENCE_SECONDS = 30.0
COMMAND = [sys.executable, "-c", "from mlinfra.cli.main import app; app()", "watch", "-n"]
JOB = {
    "apiVersion": "mlinfra.io/v1alpha1",
    "kind": "TrainingJob",
    "metadata": {"name": "tides"},
    "spec": {"modelName": "tides", "command": ["train"]},
}
Ask = Callable[[Callable[[KubernetesClient], Any]], None]


@pytest.fixture
def ask(cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> Ask:
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    monkeypatch.setenv("COLUMNS", "120")

    def run(question: Callable[[KubernetesClient], Any]) -> None:
        async def asked() -> None:
            async with KubernetesClient(ClusterConfig.from_kubeconfig(cluster.kubeconfig)) as kube:
                await question(kube)

        asyncio.run(asked())

    return run


@pytest.fixture
def namespace(ask: Ask) -> str:
    name = f"watch-{time.time_ns():x}"
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    ask(install_custom_resources)
    ask(lambda kube: kube.create(NAMESPACES, manifest))
    ask(lambda kube: kube.create(TRAINING_JOBS, JOB, name))
    return name


@pytest.fixture
def piped(namespace: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*COMMAND, namespace], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    yield process
    process.kill()
    process.wait()
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()


def test_each_change_is_a_line(piped: subprocess.Popen[str], namespace: str, ask: Ask) -> None:
    assert piped.stdout is not None
    assert piped.stdout.readline().split()[1:] == ["trainingjob/tides", "-"]
    for status in (
        {"phase": "Running"},
        {"observedGeneration": 1},
        {"trainerStatus": {"progressPercentage": 7}},
    ):
        patch = {"status": status}
        ask(
            lambda kube, patch=patch: kube.merge_patch(
                TRAINING_JOBS, "tides", patch, namespace, subresource="status"
            )
        )
    assert piped.stdout.readline().split()[1:] == ["trainingjob/tides", "Running"]
    assert piped.stdout.readline().split()[1:] == ["trainingjob/tides", "Running", "7%"]
    ask(lambda kube: kube.delete(TRAINING_JOBS, "tides", namespace))
    assert piped.stdout.readline().split()[1:] == ["trainingjob/tides", "deleted"]
    piped.send_signal(signal.SIGINT)
    assert piped.wait(PATIENCE_SECONDS) == 0
    assert piped.communicate() == ("", "")


def test_it_ends_once_nobody_reads_its_pipe(piped: subprocess.Popen[str]) -> None:
    assert piped.stdout is not None
    assert piped.stdout.readline()
    piped.stdout.close()
    assert piped.wait(PATIENCE_SECONDS) == 1
    assert piped.stderr is not None
    assert piped.stderr.read() == ""


def test_a_terminal_shows_a_table(namespace: str, ask: Ask) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, namespace], stdout=theirs, stderr=theirs, env=os.environ | {"TERM": "xterm"}
    )
    os.close(theirs)
    try:
        shown = b""
        while b"trainingjob/tides" not in shown:
            shown += os.read(ours, 65536)
        assert b"NAME" in shown
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_SECONDS) == 0
    finally:
        process.kill()
        process.wait()
        os.close(ours)
