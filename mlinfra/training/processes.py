"""The processes of one training: who they are, and what they do together.

Each holds all rows and the same weights, learns its share of each batch, and averages gradients with the
others (torch's DistributedDataParallel). Started by torchrun, or by mlinfra.training.launcher.
"""

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from mlinfra.training.checkpoint_format import decode, encode
from mlinfra.training.errors import InvalidProcessesError, PeerLostError

TIMEOUT_SECONDS = 300.0
"""How long a process waits for the others before it gives up."""
TIMEOUT_ENV = "MLINFRA_COLLECTIVE_TIMEOUT_SECONDS"


@dataclass(frozen=True, slots=True)
class Processes:
    """One process among ``size``; of one alone, everything here does nothing.

    Attributes:
        rank: number of this process, from 0; the first alone writes files and speaks to MLflow.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that reports."""
        return self.rank == 0

    def share(self, count: int) -> range:
        """This process's part of ``count`` things; the parts are next to each other and nearly equal."""
        return range(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def wrapped(self, network: nn.Module, device: torch.device) -> nn.Module:
        """The network with gradients that are averaged over all processes."""
        if self.size == 1:
            return network
        # Buffers are brought together once an epoch, by `synchronise`, instead of with each batch.
        return nn.parallel.DistributedDataParallel(
            network, device_ids=[device] if device.type == "cuda" else None, forward_sync_buffers=False
        )

    def synchronise(self, network: nn.Module) -> None:
        """Give every process the first one's buffers, such as running means."""
        if self.size > 1:
            for buffer in network.buffers():
                dist.broadcast(buffer, src=0)

    def sum(self, value: Tensor) -> Tensor:
        """The sum of a tensor over the processes."""
        if self.size > 1:
            dist.all_reduce(value)
        return value

    def concatenate(self, rows: Tensor, count: int) -> Tensor:
        """All rows, (count, ...), of which each process has its `share`."""
        if self.size == 1:
            return rows
        longest = math.ceil(count / self.size)
        padded = rows.new_zeros((longest, *rows.shape[1:]))
        padded[: len(rows)] = rows
        gathered = [torch.empty_like(padded) for _ in range(self.size)]
        dist.all_gather(gathered, padded)
        lengths = (len(Processes(rank, self.size).share(count)) for rank in range(self.size))
        return torch.cat([part[:length] for part, length in zip(gathered, lengths, strict=True)])

    def gather(self, value: Any) -> list[Any]:
        """Every process's value, by rank: plain values and tensors, nested."""
        if self.size == 1:
            return [value]
        content = encode(value)
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        dist.all_gather(sizes, torch.tensor([len(content)]))
        longest = max(int(size.item()) for size in sizes)
        padded = torch.zeros(longest, dtype=torch.uint8)
        padded[: len(content)] = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        gathered = [torch.empty_like(padded) for _ in range(self.size)]
        dist.all_gather(gathered, padded)
        return [
            decode(part[: int(size.item())].numpy().tobytes())
            for part, size in zip(gathered, sizes, strict=True)
        ]

    def broadcast(self, content: bytes) -> bytes:
        """The first process's bytes."""
        if self.size == 1:
            return content
        size = torch.tensor([len(content)])
        dist.broadcast(size, src=0)
        data = torch.zeros(int(size.item()), dtype=torch.uint8)
        if self.first:
            data[:] = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        dist.broadcast(data, src=0)
        return data.numpy().tobytes()

    def agree_on(self, what: str, value: str) -> None:
        """Make sure that a value is the same in every process.

        Raises:
            InvalidProcessesError: it is not.
        """
        if len(set(self.gather(value))) > 1:
            raise InvalidProcessesError(f"The {self.size} processes of this training have different {what}.")

    def wait(self) -> None:
        """Until all processes are here."""
        if self.size > 1:
            dist.all_reduce(torch.zeros(1))


class Agreement:
    """Whether any process wants to stop, known to all after the same batch.

    The question of one batch is answered with the next, so that no GPU and no process waits for it.
    """

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._asked: tuple[Tensor, dist.Work] | None = None

    def reached(self, wish: bool) -> bool:
        """Tell this process's wish, and hear whether any had one a batch ago."""
        if self._processes.size == 1:
            return wish
        answer = self._answer()
        flag = torch.tensor([int(wish)])
        work = dist.all_reduce(flag, op=dist.ReduceOp.MAX, async_op=True)
        if work is None:
            raise RuntimeError("torch.distributed gave no handle of an asynchronous call")
        self._asked = (flag, work)
        return answer

    def settle(self, wish: bool) -> bool:
        """The same, of now: for the end of an epoch, where all processes wait for each other anyway."""
        if self._processes.size == 1:
            return wish
        earlier = self._answer()
        flag = torch.tensor([int(wish or earlier)])
        dist.all_reduce(flag, op=dist.ReduceOp.MAX)
        return bool(flag.item())

    def _answer(self) -> bool:
        if self._asked is None:
            return False
        flag, work = self._asked
        self._asked = None
        work.wait()
        return bool(flag.item())


def processes_of(environ: Mapping[str, str]) -> tuple[int, int, int]:
    """Rank, number of processes and rank on this machine, as torchrun tells them in the environment.

    Raises:
        InvalidProcessesError: what it says is no such number.
    """
    try:
        rank, size = int(environ.get("RANK", "0")), int(environ.get("WORLD_SIZE", "1"))
        local_rank = int(environ.get("LOCAL_RANK", str(rank)))
    except ValueError as error:
        raise InvalidProcessesError(
            f"RANK, WORLD_SIZE and LOCAL_RANK must be whole numbers: {error}."
        ) from error
    if not 0 <= rank < size or local_rank < 0:
        raise InvalidProcessesError(f"RANK {rank} is not one of {size} processes (WORLD_SIZE).")
    return rank, size, local_rank


@contextmanager
def joined(
    rank: int,
    size: int,
    *,
    device: torch.device,
    meeting: str = "env://",
    timeout: float | None = None,
) -> Iterator[Processes]:
    """Join the other processes of a training for the block.

    Args:
        rank: number of this process.
        size: how many there are; with 1 nothing is joined.
        device: where this one trains.
        meeting: URL where they find each other; by default MASTER_ADDR and MASTER_PORT tell.
        timeout: seconds to wait for the others, each time.

    Raises:
        PeerLostError: another process ended, or does not answer.
    """
    if size == 1:
        yield Processes()
        return
    if timeout is None:
        timeout = float(os.environ.get(TIMEOUT_ENV, TIMEOUT_SECONDS))
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    with lost_peers(rank, size):
        dist.init_process_group(
            backend, init_method=meeting, rank=rank, world_size=size, timeout=timedelta(seconds=timeout)
        )
        try:
            yield Processes(rank, size)
        finally:
            dist.destroy_process_group()


@contextmanager
def lost_peers(rank: int, size: int) -> Iterator[None]:
    """Tell of a process that ended or does not answer, instead of what the network says."""
    try:
        yield
    except (RuntimeError, torch.AcceleratorError) as error:
        told = str(error)
        # gloo has no exception class of its own.
        if not isinstance(error, dist.DistError) and "gloo" not in told.lower():
            raise
        first_line = told.splitlines()[0] if told else type(error).__name__
        raise PeerLostError(
            f"Process {rank} of {size} lost another one: it ended, or did not answer in time; its own log "
            f"tells why. ({first_line})"
        ) from error
