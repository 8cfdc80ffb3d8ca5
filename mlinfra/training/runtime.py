"""Where and with whom a training runs: device, processes, and whether it shall stop."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from mlinfra.training.errors import InvalidProcessesError
from mlinfra.training.interruption import Interruption
from mlinfra.training.processes import Processes, joined, processes_of


@dataclass(frozen=True, slots=True)
class Runtime:
    """What one process of a training runs with.

    Attributes:
        device: where this process trains.
        processes: the processes of the training, and which of them this is.
        interruption: whether somebody wants it to stop.
    """

    device: torch.device
    processes: Processes = field(default_factory=Processes)
    interruption: Interruption = field(default_factory=Interruption)


def choose_device(local_rank: int = 0) -> torch.device:
    """The GPU of a process where torch sees one for it, else the CPU.

    Args:
        local_rank: number of the process on this machine.

    Raises:
        InvalidProcessesError: there are GPUs, but fewer than processes.
    """
    if torch.cuda.is_available():
        count = torch.cuda.device_count()
        if local_rank >= count:
            raise InvalidProcessesError(
                f"Process {local_rank + 1} on this machine has no GPU: there are {count}, "
                "and each trains one process."
            )
        return torch.device("cuda", local_rank)
    return torch.device("cpu")


@contextmanager
def joined_runtime(environ: Mapping[str, str], interruption: Interruption) -> Iterator[Runtime]:
    """The runtime of a process that torchrun may have started, joined with the others for the block.

    Raises:
        InvalidProcessesError: the environment names processes that cannot be.
        PeerLostError: another process ended, or does not answer.
    """
    rank, size, local_rank = processes_of(environ)
    device = choose_device(local_rank)
    with joined(rank, size, device=device) as processes:
        yield Runtime(device, processes, interruption)
