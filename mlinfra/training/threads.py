"""How many threads the numeric libraries of a training process start."""

import math
import os
from collections.abc import MutableMapping
from pathlib import Path

CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
THREADS_ENV = "OMP_NUM_THREADS"
MAX_THREADS = 16


def limit_threads(environ: MutableMapping[str, str] = os.environ, *, processes: int = 1) -> None:
    """Let OpenMP start as many threads as the container may use cores, unless the user said otherwise.

    ``processes`` on the same cores share them.

    Works only before torch and NumPy are imported. They would count the machine's cores, and throttle
    themselves where a container has a share of them.
    """
    if THREADS_ENV not in environ:
        quota = CPU_QUOTA.read_text() if CPU_QUOTA.exists() else ""
        environ[THREADS_ENV] = str(max(1, thread_count(usable_cores(), quota) // processes))


def usable_cores() -> int:
    """How many cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def thread_count(cores: int, cpu_max: str) -> int:
    """Threads for ``cores`` cores under a cgroup's ``cpu.max``, such as ``"200000 100000"`` or ``""``."""
    quota, _, period = cpu_max.strip().partition(" ")
    shares = cores if quota in ("", "max") else math.ceil(int(quota) / int(period))
    return max(1, min(cores, shares, MAX_THREADS))
