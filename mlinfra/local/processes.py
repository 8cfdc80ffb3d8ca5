"""Daemons of a cluster: started detached, known by a record on disk, stopped with their whole session."""

import hashlib
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from mlinfra.errors import MlinfraError
from mlinfra.local import procfs
from mlinfra.local.files import read_json, write_json

GRACE_SECONDS = 20.0
"""How long a daemon may take to end before it is killed."""


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """A daemon as it should run.

    Attributes:
        name: name of the component; its log and record are named after it.
        argv: program and arguments.
        env: variables on top of those of the starting process.
        cwd: working folder.
        address: where it can be reached, for people.
        inputs: files it reads once, at its start: it is started anew when their content changes.
        grace_seconds: how long it may take to end.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    address: str = ""
    inputs: Sequence[Path] = ()
    grace_seconds: float = GRACE_SECONDS

    def digest(self) -> str:
        """A hash that changes when a running daemon no longer is what is asked for."""
        contents = [hashlib.sha256(path.read_bytes()).hexdigest() for path in self.inputs]
        wanted = [list(self.argv), sorted(self.env.items()), str(self.cwd), contents]
        return hashlib.sha256(json.dumps(wanted).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """What is stored about a started daemon."""

    name: str
    pid: int
    start_time: int
    boot_id: str
    digest: str
    started_at: float
    address: str
    log: str
    grace_seconds: float


Liveness = Literal["running", "dead", "stale"]


def liveness(record: ProcessRecord, *, boot_id: str, start_time: int | None) -> Liveness:
    """Whether a recorded daemon still runs.

    Args:
        record: what was stored when it was started.
        boot_id: of the running kernel.
        start_time: of the process that has the pid now; None where there is none.

    Returns:
        ``running``; ``dead``: it ended by itself; ``stale``: the record is from before a reboot, or the
        pid now belongs to a process that is not ours.
    """
    if record.boot_id != boot_id:
        return "stale"
    if start_time is None:
        return "dead"
    return "running" if record.start_time == start_time else "stale"


class StartError(MlinfraError):
    """A daemon could not be started, or ended before it was ready."""


class ProcessTable:
    """The daemons of one cluster; records lie in ``run``, output in ``logs``."""

    def __init__(self, *, run: Path, logs: Path) -> None:
        self._run = run
        self._logs = logs
        # Children must be waited for, or they stay as zombies while this process lives.
        self._children: dict[int, subprocess.Popen[bytes]] = {}

    def log_of(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def records(self) -> list[ProcessRecord]:
        """All records, in the order of their start."""
        found = [self._read(path) for path in self._run.glob("*.json")]
        return sorted((record for record in found if record), key=lambda record: record.started_at)

    def record(self, name: str) -> ProcessRecord | None:
        return self._read(self._record_path(name))

    def liveness(self, record: ProcessRecord) -> Liveness:
        self._reap(record.pid)
        return liveness(record, boot_id=procfs.boot_id(), start_time=procfs.start_time(record.pid))

    def is_running(self, name: str) -> bool:
        record = self.record(name)
        return record is not None and self.liveness(record) == "running"

    def clear_remains(self, name: str) -> None:
        """End what a daemon that died has left running: it may hold the port that the next one wants."""
        record = self.record(name)
        if record and self.liveness(record) != "running":
            self.stop([record])

    def exit_status(self, pid: int) -> int | None:
        """Exit status of a child of this process that has ended; negative for a signal."""
        child = self._children.get(pid)
        return child.poll() if child else None

    def ensure(self, spec: ProcessSpec) -> bool:
        """Have the daemon run as specified: keep it, start it, or start it anew when it changed.

        Returns:
            Whether it was started by this call.

        Raises:
            StartError: the program cannot be executed.
        """
        record = self.record(spec.name)
        if record and self.liveness(record) == "running" and record.digest == spec.digest():
            return False
        if record:
            self.stop([record])
        self._start(spec)
        return True

    def stop(self, records: Iterable[ProcessRecord]) -> None:
        """End daemons one after another, each with every process of its session, and forget them."""
        for record in records:
            if self.liveness(record) != "stale":
                self._end_session(record)
            self._record_path(record.name).unlink(missing_ok=True)

    def _start(self, spec: ProcessSpec) -> None:
        log = self.log_of(spec.name)
        if log.exists() and log.stat().st_size:
            log.replace(log.with_suffix(".log.1"))
        with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as output:
            try:
                child = subprocess.Popen(
                    spec.argv,
                    env={**os.environ, **spec.env},
                    cwd=spec.cwd,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                raise StartError(f"{spec.name}: {spec.argv[0]} cannot be started: {error}") from error
        self._children[child.pid] = child
        record = ProcessRecord(
            name=spec.name,
            pid=child.pid,
            start_time=procfs.start_time_of_child(child.pid),
            boot_id=procfs.boot_id(),
            digest=spec.digest(),
            started_at=time.time(),
            address=spec.address,
            log=str(log),
            grace_seconds=spec.grace_seconds,
        )
        write_json(self._record_path(spec.name), asdict(record))

    def _end_session(self, record: ProcessRecord) -> None:
        """SIGTERM to the leader, which ends its own workers; SIGKILL to all that is left of the session."""
        if self.liveness(record) == "running":
            _terminate(record)
        survivors = procfs.session_members(record.pid)
        for pid in survivors:
            _signal(pid, signal.SIGKILL)
        for pid in survivors:
            _wait_until_gone(pid, seconds=record.grace_seconds)
        self._reap(record.pid)

    def _reap(self, pid: int) -> None:
        child = self._children.get(pid)
        if child:
            child.poll()

    def _record_path(self, name: str) -> Path:
        return self._run / f"{name}.json"

    @staticmethod
    def _read(path: Path) -> ProcessRecord | None:
        stored = read_json(path)
        return ProcessRecord(**stored) if stored else None


def _terminate(record: ProcessRecord) -> None:
    _signal(record.pid, signal.SIGTERM)
    _wait_until_gone(record.pid, seconds=record.grace_seconds)


def _wait_until_gone(pid: int, *, seconds: float) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.poll(seconds * 1000)
    finally:
        os.close(descriptor)


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        # It ended by itself in the meantime, which is what is wanted.
        return
