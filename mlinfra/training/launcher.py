"""Several processes of one training on this machine, without torchrun.

    with local_processes(2, config, frame, keys) as runtime:
        train(config, frame, keys=keys, runtime=runtime, ...)

The caller is the first process, so that its progress, run and exit code stay its own. The others
(`mlinfra.training.helper`) are started for the block, get the same rows through a file, and meet the first
one through another: no port is opened but gloo's, on the loopback interface.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import pandas as pd
import torch

from mlinfra.training.config import TrainingConfig
from mlinfra.training.errors import InvalidProcessesError, PeerLostError
from mlinfra.training.interruption import Interruption
from mlinfra.training.processes import TIMEOUT_SECONDS, joined
from mlinfra.training.rows import RowKeys
from mlinfra.training.runtime import Runtime, choose_device
from mlinfra.training.threads import THREADS_ENV

MAX_PROCESSES = 64
END_SECONDS = 60.0
"""How long the others may take to end after the first one."""
LOOK_SECONDS = 0.02
TOLD_LINES = 15
INTERFACE_ENV = "GLOO_SOCKET_IFNAME"
LOOPBACK_INTERFACES = {"linux": "lo", "darwin": "lo0"}


@dataclass(frozen=True, slots=True)
class HelperTask:
    """What a helping process is told, through files in a folder."""

    config: TrainingConfig
    keys: RowKeys
    processes: int
    checkpoint_every: int | None

    def write(self, folder: Path, frame: pd.DataFrame) -> None:
        """Leave the task and its rows in a folder."""
        told = {
            "config": self.config.to_wire(),
            "keys": asdict(self.keys),
            "processes": self.processes,
            "checkpoint_every": self.checkpoint_every,
        }
        (folder / "task.json").write_text(json.dumps(told), encoding="utf-8")
        frame.reset_index(drop=True).to_feather(folder / "rows.feather")

    @classmethod
    def read(cls, folder: Path) -> tuple[Self, pd.DataFrame]:
        """The task in a folder, and its rows."""
        told = json.loads((folder / "task.json").read_text(encoding="utf-8"))
        task = cls(
            config=TrainingConfig.from_wire(told["config"]),
            keys=RowKeys(**told["keys"]),
            processes=told["processes"],
            checkpoint_every=told["checkpoint_every"],
        )
        return task, pd.read_feather(folder / "rows.feather")


@contextmanager
def local_processes(
    count: int,
    config: TrainingConfig,
    frame: pd.DataFrame,
    keys: RowKeys,
    *,
    checkpoint_every: int | None = None,
    interruption: Interruption | None = None,
) -> Iterator[Runtime]:
    """Be the first of ``count`` processes for the block.

    Args:
        count: how many processes train; 1 is this one alone.
        config: what is trained.
        frame: the rows.
        keys: which of its columns are the time and the entity.
        checkpoint_every: epochs between checkpoints, where there are any.
        interruption: whether the training shall stop.

    Raises:
        InvalidProcessesError: ``count`` is out of bounds, or there are fewer GPUs.
        PeerLostError: another process ended, or does not answer.
    """
    interruption = interruption or Interruption()
    if not 1 <= count <= MAX_PROCESSES:
        raise InvalidProcessesError(f"processes: {count} is not between 1 and {MAX_PROCESSES}.")
    if count == 1:
        yield Runtime(choose_device(), interruption=interruption)
        return
    device = choose_device()
    choose_device(count - 1)
    threads = torch.get_num_threads()
    each = max(1, threads // count)
    with tempfile.TemporaryDirectory(prefix="mlinfra-processes-") as temporary, _loopback() as environ:
        folder = Path(temporary)
        HelperTask(config, keys, count, checkpoint_every).write(folder, frame)
        helpers = [_start(folder, rank, count, threads=each, environ=environ) for rank in range(1, count)]
        torch.set_num_threads(each)
        try:
            _wait_until_ready(helpers, folder)
            with joined(0, count, device=device, meeting=meeting_in(folder)) as processes:
                yield Runtime(device, processes, interruption)
            for helper in helpers:
                helper.wait(END_SECONDS)
        except PeerLostError as error:
            raise PeerLostError(f"{error}{_last_words(folder, range(1, count))}") from error
        finally:
            torch.set_num_threads(threads)
            for helper in helpers:
                helper.kill()
                helper.communicate()


def meeting_in(folder: Path) -> str:
    """URL of the file through which the processes find each other."""
    return (folder / "meeting").as_uri()


def log_of(folder: Path, rank: int) -> Path:
    """What a process wrote."""
    return folder / f"process-{rank}.log"


def ready_file(folder: Path, rank: int) -> Path:
    """There once a process is about to join."""
    return folder / f"process-{rank}.ready"


def _start(
    folder: Path, rank: int, count: int, *, threads: int, environ: Mapping[str, str]
) -> "subprocess.Popen[bytes]":
    # The run belongs to the first process alone.
    inherited = {name: value for name, value in environ.items() if name != "MLFLOW_RUN_ID"}
    with log_of(folder, rank).open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "mlinfra.training.helper", str(folder), str(rank)],
            env=inherited | {"WORLD_SIZE": str(count), "RANK": str(rank), THREADS_ENV: str(threads)},
            # Ends with this process, however that ends.
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            # What interrupts this process reaches the others through it, after a batch.
            start_new_session=True,
        )


def _wait_until_ready(helpers: Sequence["subprocess.Popen[bytes]"], folder: Path) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    waiting = dict(enumerate(helpers, start=1))
    while waiting:
        for rank, helper in list(waiting.items()):
            if ready_file(folder, rank).exists():
                del waiting[rank]
            elif (code := helper.poll()) is not None:
                raise PeerLostError(f"Process {rank} ended with {code} before the training began.")
        if time.monotonic() > deadline:
            raise PeerLostError(f"Processes {sorted(waiting)} did not start within {TIMEOUT_SECONDS:g} s.")
        time.sleep(LOOK_SECONDS)


def _last_words(folder: Path, ranks: range) -> str:
    logs = ((rank, log_of(folder, rank).read_text(encoding="utf-8", errors="replace")) for rank in ranks)
    told = ((rank, "\n".join(log.strip().splitlines()[-TOLD_LINES:])) for rank, log in logs)
    return "".join(f"\nProcess {rank} said: {words}" for rank, words in told if words)


@contextmanager
def _loopback() -> Iterator[Mapping[str, str]]:
    """The environment, in which gloo listens on the loopback interface unless the user said otherwise."""
    before = os.environ.get(INTERFACE_ENV)
    if before is None and sys.platform in LOOPBACK_INTERFACES:
        os.environ[INTERFACE_ENV] = LOOPBACK_INTERFACES[sys.platform]
    try:
        yield dict(os.environ)
    finally:
        if before is None:
            os.environ.pop(INTERFACE_ENV, None)
