"""One container as a process: started through the launcher, watched, ended, adopted after a restart."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlinfra.local import procfs
from mlinfra.local.files import make_private_folder, read_json, write_atomically
from mlinfra.local.node.pod_files import ContainerFiles
from mlinfra.local.node.pod_status import Running, Terminated
from mlinfra.local.node.volumes import Mount

SHIM = Path(__file__).with_name("shim.py")
START_POLL_SECONDS = 0.005
EXIT_KILLED = 137
TOLD_CHARACTERS = 500
"""How much of a failed command's output is told."""


@dataclass(frozen=True, slots=True)
class Launch:
    """What to run.

    Attributes:
        argv: program and arguments.
        env: the whole environment.
        cwd: working folder.
        isolated: whether to make namespaces of mounts and of the host name.
        mounts: what to mount there.
        hostname: the machine's name as the command sees it there.
    """

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str
    isolated: bool
    mounts: Sequence[Mount]
    hostname: str


class ContainerProcess:
    """A launcher and the command below it."""

    def __init__(self, files: ContainerFiles, pid: int, child: "subprocess.Popen[bytes] | None") -> None:
        self._files = files
        self._pid = pid
        self._child = child

    @classmethod
    async def start(cls, files: ContainerFiles, launch: Launch) -> "ContainerProcess":
        """Start the command; returns once it runs or has failed to."""
        make_private_folder(files.folder)
        for path in (files.process, files.started, files.exit):
            path.unlink(missing_ok=True)
        files.log.touch(mode=0o600)
        write_atomically(files.launch, json.dumps(_launch_document(files, launch)).encode())
        child = _spawn(files, launch)
        process = cls(files, child.pid, child)
        while not files.started.exists() and process.is_running():
            await asyncio.sleep(START_POLL_SECONDS)
        # Its environment may hold secrets.
        files.launch.unlink(missing_ok=True)
        return process

    @classmethod
    def adopt(cls, files: ContainerFiles) -> "ContainerProcess | None":
        """The process that an earlier agent started, whether it still runs or has ended; None if none was."""
        record = read_json(files.process)
        if record is None:
            return None
        same = (
            record["bootId"] == procfs.boot_id() and procfs.start_time(record["pid"]) == record["startTime"]
        )
        return cls(files, record["pid"] if same else 0, None)

    def running(self) -> Running:
        """Its state while it runs."""
        started = read_json(self._files.started) or {"pid": self._pid, "startedAt": 0.0}
        return Running(started["pid"], started["startedAt"])

    def is_running(self) -> bool:
        """Whether the launcher still runs."""
        if self._child is not None:
            return self._child.poll() is None
        return self._pid != 0 and procfs.start_time(self._pid) is not None

    async def wait(self) -> Terminated | None:
        """Its end; None where it vanished without a record: after a reboot, or killed with its launcher."""
        if self.is_running():
            await self._until_gone()
        if self._child is not None:
            self._child.wait()
        ended = read_json(self._files.exit)
        if ended is None:
            self.kill()
            return None
        return terminated(ended)

    async def execute(self, argv: Sequence[str], launch: Launch, seconds: float) -> str | None:
        """Run a command beside it, as a kubelet's exec does; why it failed, None where it did not."""
        place = (str(self.running().pid), launch.cwd)
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(SHIM), "--enter", *place, *argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(launch.env),
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(seconds):
                output, _ = await child.communicate()
        except TimeoutError:
            return f"{argv[0]}: no end within {seconds:g} s"
        finally:
            if child.returncode is None:
                os.killpg(child.pid, signal.SIGKILL)
                await child.wait()
        if child.returncode == 0:
            return None
        tail = output.decode(errors="replace").strip()[-TOLD_CHARACTERS:]
        return f"{argv[0]}: exit code {child.returncode} {tail}".rstrip()

    def terminate(self) -> None:
        """SIGTERM to the command."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to the command and all that it started."""
        self._signal(signal.SIGUSR1)

    def _signal(self, number: signal.Signals) -> None:
        if self.is_running():
            try:
                os.kill(self._pid, number)
            except ProcessLookupError:
                # It ended by itself in the meantime.
                return

    async def _until_gone(self) -> None:
        try:
            descriptor = os.pidfd_open(self._pid)
        except ProcessLookupError:
            return
        gone, loop = asyncio.Event(), asyncio.get_running_loop()
        loop.add_reader(descriptor, gone.set)
        try:
            await gone.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)


def terminated(ended: Mapping[str, Any]) -> Terminated:
    """The state that a launcher's record tells."""
    reason = "StartError" if ended["failure"] else "Completed" if ended["exitCode"] == 0 else "Error"
    return Terminated(
        exit_code=ended["exitCode"],
        reason=reason,
        started_at=ended["startedAt"],
        finished_at=ended["finishedAt"],
        signal=ended["signal"],
        message=ended["failure"],
    )


def _spawn(files: ContainerFiles, launch: Launch) -> "subprocess.Popen[bytes]":
    with files.log.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(SHIM), str(files.launch)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=dict(launch.env),
            start_new_session=True,
        )


def _launch_document(files: ContainerFiles, launch: Launch) -> dict[str, Any]:
    return {
        "argv": list(launch.argv),
        "env": dict(launch.env),
        "cwd": launch.cwd,
        "isolated": launch.isolated,
        "mounts": [
            {"source": str(mount.source), "target": mount.target, "readOnly": mount.read_only}
            for mount in launch.mounts
        ],
        "stage": str(files.stage),
        "hostname": launch.hostname,
        "processFile": str(files.process),
        "startedFile": str(files.started),
        "exitFile": str(files.exit),
    }


def isolation_failure() -> str | None:
    """Why this machine does not let a process have mounts of its own; None where it does."""
    probe = subprocess.run(
        [sys.executable, "-I", "-S", str(SHIM), "--probe"], capture_output=True, text=True, timeout=30
    )
    if probe.returncode == 0:
        return None
    return (probe.stderr.strip().splitlines() or [f"exit status {probe.returncode}"])[-1]
