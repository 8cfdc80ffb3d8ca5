"""A model's answers over HTTP: beside ONNX Runtime alone, beside ``mlflow models serve``, and under a swap.

Usage: python -m benchmarks.serving [--small | --memory-alone --memory-seconds 3600 --memory-rate 200]

The model is a hybrid_cnn_lstm of 20 rows and 10 features with random weights, in MLflow's registry of a
temporary folder. Both servers get the same requests from the same load generator, a process of its own:
one connection for latency, eight for throughput; all share the machine's cores. Ours logs every prediction.
The promises: one row over HTTP takes ONNX Runtime's own time plus 1 ms at most at the median; five times the
throughput of ``mlflow models serve``; no failed request while the model is swapped, with a p99 of at most
twice the one without; memory that does not grow. The exit code is 1 where one is missed; on a few requests
only failed ones count.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from benchmarks.serving.servers import (
    FEATURES,
    NAME,
    WINDOW,
    OurServer,
    mlflow_server,
    our_server,
    registered,
)
from benchmarks.side_by_side import Timing, duration, machine
from mlinfra.local.mlflow_server import ENVIRONMENT

ADDED_SECONDS = 1e-3
TIMES_THROUGHPUT = 5.0
TIMES_P99 = 2.0
AT_MOST_GROWN = 0.05
CONNECTIONS = 8
LEAST_SWAPS = 4
PAUSE_SECONDS = 0.5
MARKS = (0.0, 1 / 60, 1 / 12, 1 / 4, 1 / 2, 1.0)
"""When memory is looked at, as parts of the run: of an hour after 1, 5, 15, 30 and 60 minutes."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is asked.

    Attributes:
        requests: of ours, at one connection and at eight; MLflow gets a tenth.
        swap_seconds: how long the model is swapped back and forth.
        memory_seconds: how long memory is watched.
        memory_rate: requests a second meanwhile; None for as many as are answered.
        promised: whether there are enough for the promises.
    """

    requests: int
    swap_seconds: float
    memory_seconds: float
    memory_rate: float | None
    promised: bool


@dataclass(frozen=True, slots=True)
class Check:
    """A line of the report; ``held`` is None where nothing is promised."""

    what: str
    found: str
    held: bool | None = None


@dataclass(frozen=True, slots=True)
class Loaded:
    """Times of answers, answers a second, and requests that failed."""

    timing: Timing
    rate: float
    failed: int


def main(
    small: Annotated[bool, typer.Option(help="A few requests: whether it runs, not how fast.")] = False,
    memory_seconds: Annotated[float, typer.Option(min=1, help="How long memory is watched.")] = 300.0,
    memory_rate: Annotated[
        float | None,
        typer.Option(min=0.1, help="Requests a second meanwhile.", show_default="as many as are answered"),
    ] = None,
    memory_alone: Annotated[bool, typer.Option(help="Watch memory, and measure nothing else.")] = False,
) -> None:
    """Measure, compare, and print."""
    size = Size(300, 2.0, 3.0, None, promised=False)
    if not small:
        size = Size(20_000, 20.0, memory_seconds, memory_rate, promised=True)
    os.environ |= ENVIRONMENT
    with tempfile.TemporaryDirectory(prefix="mlinfra-bench-") as name:
        folder = Path(name)
        uri = f"sqlite:///{folder}/mlflow.db"
        registered(folder, uri)
        sample = np.random.default_rng(7).normal(size=(1, WINDOW, FEATURES)).astype(np.float32)
        checks = (watched if memory_alone else measured)(folder, uri, sample, size)
    console = Console()
    for each in checks:
        verdict = "" if each.held is None else ("held" if each.held else "MISSED")
        console.print(f"{each.what:<52} {each.found:<56} {verdict}", highlight=False, soft_wrap=True)
    console.print(machine(("onnxruntime", "uvicorn", "mlflow")), highlight=False, soft_wrap=True)
    raise typer.Exit(int(any(each.held is False for each in checks)))


def measured(folder: Path, uri: str, sample: np.ndarray[Any, Any], size: Size) -> list[Check]:
    """Ours and MLflow's, in one run."""
    load = Load(folder)
    alone = onnx_runtime_alone(folder / "model.onnx", sample, size.requests)
    body = body_of(sample)
    rival_body = {"inputs": sample.tolist()}
    fewer = max(size.requests // 10, 100)
    with our_server(folder, uri) as ours:
        url = f"{ours.url}/v2/models/{NAME}/infer"
        load(url, body, 1, min(size.requests, 500))
        one, many = load(url, body, 1, size.requests), load(url, body, CONNECTIONS, size.requests)
    with mlflow_server(folder, uri) as rival_url:
        load(rival_url, rival_body, 1, 50)
        rival_one = load(rival_url, rival_body, 1, fewer)
        rival_many = load(rival_url, rival_body, CONNECTIONS, fewer)
    with our_server(folder, uri) as ours:
        url = f"{ours.url}/v2/models/{NAME}/infer"
        load(url, body, CONNECTIONS, min(size.requests, 2000))
        steady = load(url, body, CONNECTIONS, size.requests)
        swaps: list[float] = []
        swapped = load.meanwhile(
            url, body, CONNECTIONS, lambda: swaps.extend(swapped_back_and_forth(ours, size.swap_seconds))
        )
    memory, long = memory_under(load, folder, uri, body, size)
    checks = [
        *latency_checks(alone, one, rival_one),
        *throughput_checks(many, rival_many),
        *swap_checks(steady, swapped, swaps),
        *memory_checks(memory, long, size.memory_seconds),
    ]
    if not size.promised:
        checks = [replace(each, held=None) for each in checks]
    return [*checks, failures_check([one, many, steady, swapped, long])]


def watched(folder: Path, uri: str, sample: np.ndarray[Any, Any], size: Size) -> list[Check]:
    """The memory of ours alone."""
    memory, long = memory_under(Load(folder), folder, uri, body_of(sample), size)
    return [*memory_checks(memory, long, size.memory_seconds), failures_check([long])]


def memory_under(
    load: "Load", folder: Path, uri: str, body: object, size: Size
) -> tuple[list[float], Loaded]:
    """Resident MiB at each of `MARKS`, and the load meanwhile."""
    memory: list[float] = []
    with our_server(folder, uri) as ours:
        url = f"{ours.url}/v2/models/{NAME}/infer"
        long = load.meanwhile(
            url,
            body,
            CONNECTIONS,
            lambda: memory.extend(growth(ours, size.memory_seconds)),
            rate=size.memory_rate,
        )
    return memory, long


def body_of(sample: np.ndarray[Any, Any]) -> object:
    tensor = {"name": "features", "datatype": "FP32", "shape": list(sample.shape)}
    return {"inputs": [tensor | {"data": sample.ravel().tolist()}]}


def latency_checks(alone: Timing, one: Loaded, rival: Loaded) -> list[Check]:
    """One connection."""
    added = one.timing.median - alone.median
    return [
        Check("ONNX Runtime alone, one row", told(alone)),
        Check("ours over HTTP, one row, 1 connection", told(one.timing)),
        Check(
            f"  added at the median: at most {duration(ADDED_SECONDS)}",
            duration(added),
            added <= ADDED_SECONDS,
        ),
        Check("mlflow models serve, one row, 1 connection", told(rival.timing)),
    ]


def throughput_checks(many: Loaded, rival: Loaded) -> list[Check]:
    """Eight connections."""
    ratio = many.rate / rival.rate
    return [
        Check(f"ours, {CONNECTIONS} connections", f"{many.rate:.0f} a second, {told(many.timing)}"),
        Check(
            f"mlflow models serve, {CONNECTIONS} connections",
            f"{rival.rate:.0f} a second, {told(rival.timing)}",
        ),
        Check(f"  throughput: at least {TIMES_THROUGHPUT:g} x", f"{ratio:.1f} x", ratio >= TIMES_THROUGHPUT),
    ]


def swap_checks(steady: Loaded, swapped: Loaded, swaps: list[float]) -> list[Check]:
    """The same load with and without swaps, one after the other."""
    ratio = swapped.timing.percentile(99) / steady.timing.percentile(99)
    swap = Timing("swap", tuple(swaps))
    return [
        Check(f"ours, {CONNECTIONS} connections, no swap", told(steady.timing)),
        Check(
            f"ours under {len(swaps)} swaps of {duration(swap.median)}",
            f"{told(swapped.timing)}, {swapped.failed} failed of {len(swapped.timing.seconds)}",
        ),
        Check(f"  p99 under swaps: at most {TIMES_P99:g} x", f"{ratio:.2f} x", ratio <= TIMES_P99),
    ]


def memory_checks(memory: list[float], long: Loaded, seconds: float) -> list[Check]:
    """What is bounded is full by the half of the run; after it nothing may grow."""
    grown = memory[-1] / memory[MARKS.index(1 / 2)] - 1
    return [
        Check(
            f"resident MiB over {seconds:g} s, {len(long.timing.seconds)} predictions",
            ", ".join(
                f"{each:.0f} at {mark * seconds:g} s" for mark, each in zip(MARKS, memory, strict=True)
            ),
        ),
        Check(
            f"  growth after the half: at most {AT_MOST_GROWN:.0%}",
            f"{grown:+.1%}",
            grown <= AT_MOST_GROWN,
        ),
    ]


def failures_check(loads: list[Loaded]) -> Check:
    """Of ours, over everything."""
    failed = sum(each.failed for each in loads)
    asked = sum(len(each.timing.seconds) for each in loads)
    return Check("failed requests of ours: 0", f"{failed} of {asked}", failed == 0)


def told(timing: Timing) -> str:
    return f"p50 {duration(timing.median)}, p99 {duration(timing.percentile(99))}"


def onnx_runtime_alone(path: Path, sample: np.ndarray[Any, Any], runs: int) -> Timing:
    """How long the model itself takes for one row, in this process."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        session.run(None, {"features": sample})
        seconds.append(time.perf_counter() - started)
    return Timing("ONNX Runtime", tuple(seconds[len(seconds) // 10 :]))


class Load:
    """Runs the load generator in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, url: str, body: object, connections: int, requests: int) -> Loaded:
        """So many requests."""
        with self._running(url, body, connections, ["--requests", str(requests)]) as process:
            process.wait()
        return self._loaded(url)

    def meanwhile(
        self, url: str, body: object, connections: int, act: Callable[[], None], *, rate: float | None = None
    ) -> Loaded:
        """Requests from before ``act`` begins until it has ended, at most ``rate`` a second."""
        options = [] if rate is None else ["--rate", str(rate)]
        with self._running(url, body, connections, options) as process:
            assert process.stdout is not None
            process.stdout.readline()
            try:
                act()
            finally:
                process.terminate()
        return self._loaded(url)

    def _running(self, url: str, body: object, connections: int, options: list[str]) -> subprocess.Popen[str]:
        body_file = self._folder / "body.json"
        body_file.write_text(json.dumps(body))
        self._out.unlink(missing_ok=True)
        argv = [sys.executable, "-m", "benchmarks.serving.load", url, str(body_file), str(self._out)]
        argv += ["--connections", str(connections), *options]
        return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)

    def _loaded(self, url: str) -> Loaded:
        with np.load(self._out) as kept:
            seconds = tuple(kept["seconds"].tolist())
            return Loaded(Timing(url, seconds), len(seconds) / float(kept["wall"]), int(kept["failed"]))

    @property
    def _out(self) -> Path:
        return self._folder / "load.npz"


def swapped_back_and_forth(server: OurServer, seconds: float) -> list[float]:
    """The other version takes the place of the one that answers, again and again; what each swap took."""
    deadline = time.monotonic() + seconds
    taken: list[float] = []
    while len(taken) < LEAST_SWAPS or time.monotonic() < deadline:
        started = time.monotonic()
        server.swap(2 - len(taken) % 2)
        taken.append(time.monotonic() - started)
        time.sleep(PAUSE_SECONDS)
    return taken


def growth(server: OurServer, seconds: float) -> list[float]:
    """Resident MiB at each of `MARKS`; each is told as it comes, to who waits for an hour."""
    started = time.monotonic()
    found: list[float] = []
    for mark in MARKS:
        time.sleep(max(started + mark * seconds - time.monotonic(), 0.0))
        found.append(server.memory() / 2**20)
        print(f"after {mark * seconds:g} s: {found[-1]:.0f} MiB", file=sys.stderr, flush=True)
    return found


if __name__ == "__main__":
    typer.run(main)
