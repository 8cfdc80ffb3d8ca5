"""A process has ended once its last thread has: until then it holds its files and its port."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from mlinfra.local import procfs
from mlinfra.local.network import is_free
from mlinfra.local.processes import ProcessSpec, ProcessTable

LISTENS_WITHOUT_ITS_FIRST_THREAD = """
import ctypes, platform, socket, sys, threading, time
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
number = {"x86_64": 60, "aarch64": 93}[platform.machine()]
ctypes.CDLL(None).syscall(number, 0)
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def state_of(pid: int) -> str:
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]


@pytest.fixture
def argv() -> list[str]:
    return [sys.executable, "-S", "-c", LISTENS_WITHOUT_ITS_FIRST_THREAD, str(free_port())]


@pytest.fixture
def headless(argv: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process that listens, and whose first thread has ended."""
    child = subprocess.Popen(argv, start_new_session=True)
    try:
        wait_for_first_thread(child.pid)
        yield child
    finally:
        child.kill()
        child.wait()


def wait_for_first_thread(pid: int) -> None:
    deadline = time.monotonic() + 30
    while state_of(pid) != "Z":
        assert time.monotonic() < deadline, "its first thread never ended"
        time.sleep(0.01)


def test_a_process_without_its_first_thread_runs(headless: subprocess.Popen[bytes]) -> None:
    assert procfs.start_time(headless.pid) is not None
    assert procfs.session_members(headless.pid) == [headless.pid]
    os.kill(headless.pid, signal.SIGKILL)
    # Ended, and not waited for yet.
    os.waitid(os.P_PID, headless.pid, os.WEXITED | os.WNOWAIT)
    assert procfs.start_time(headless.pid) is None
    assert procfs.session_members(headless.pid) == []


def test_its_port_is_free_once_its_remains_are_cleared(
    tmp_path_factory: pytest.TempPathFactory, argv: list[str]
) -> None:
    table = ProcessTable(run=tmp_path_factory.mktemp("run"), logs=tmp_path_factory.mktemp("logs"))
    table.ensure(ProcessSpec("listener", argv, grace_seconds=5.0))
    record = table.record("listener")
    assert record is not None
    wait_for_first_thread(record.pid)
    assert not is_free(int(argv[-1]))
    os.killpg(record.pid, signal.SIGKILL)
    table.stop([record])
    assert is_free(int(argv[-1]))
    assert not table.is_running("listener")
