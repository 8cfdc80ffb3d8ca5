"""A model's answers over HTTP: beside ONNX Runtime alone, beside ``mlflow models serve``, and under a swap.

Usage: python -m benchmarks.serving [--small]

The model is a hybrid_cnn_lstm of 20 rows and 10 features with random weights, in MLflow's registry of a
temporary folder. Both servers get the same requests from the same load generator, a process of its own:
one connection for latency, eight for throughput; all share the machine's cores. The promises: one row over
HTTP takes ONNX Runtime's own time plus 1 ms at most at the median; five times the throughput of ``mlflow
models serve``; no failed request under a swap of the model, with a p99 of at most twice the one without.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from benchmarks.side_by_side import Timing, duration, machine
from mlinfra.local.mlflow_server import ENVIRONMENT

NAME = "bench"
WINDOW, FEATURES = 20, 10
START_SECONDS = 180.0
ADDED_SECONDS = 1e-3
TIMES_THROUGHPUT = 5.0
TIMES_P99 = 2.0
CONNECTIONS = 8
SWAPS = 5
Check = tuple[str, str, bool | None]


def main(
    small: Annotated[bool, typer.Option(help="A few requests: whether it runs, not how fast.")] = False,
) -> None:
    """Measure, compare, and print."""
    requests = 300 if small else 20_000
    os.environ |= ENVIRONMENT
    with tempfile.TemporaryDirectory(prefix="mlinfra-bench-") as name:
        folder = Path(name)
        uri = f"sqlite:///{folder}/mlflow.db"
        registered(folder, uri)
        sample = np.random.default_rng(7).normal(size=(1, WINDOW, FEATURES)).astype(np.float32)
        alone = onnx_runtime_alone(folder / "model.onnx", sample, requests)
        checks = measured(folder, uri, sample, alone, requests)
    console = Console()
    for what, found, held in checks:
        verdict = "" if held is None else ("held" if held else "MISSED")
        console.print(f"{what:<58} {found:<60} {verdict}", highlight=False, soft_wrap=True)
    console.print(machine(("onnxruntime", "uvicorn", "mlflow")), highlight=False, soft_wrap=True)
    raise typer.Exit(int(any(held is False for _, _, held in checks)))


def measured(
    folder: Path, uri: str, sample: np.ndarray[Any, Any], alone: Timing, requests: int
) -> list[Check]:
    """Ours and MLflow's, in one run."""
    load = Load(folder)
    tensor = {
        "name": "features",
        "datatype": "FP32",
        "shape": list(sample.shape),
        "data": sample.ravel().tolist(),
    }
    with our_server(folder, uri) as ours:
        url, body = f"{ours.url}/v2/models/{NAME}/infer", {"inputs": [tensor]}
        load(url, body, 1, min(requests, 500))
        one = load(url, body, 1, requests)
        many = load(url, body, CONNECTIONS, requests)
        before = ours.memory()
        swapped, failures = under_swaps(ours, lambda count: load(url, body, CONNECTIONS, count), requests)
        again = load(url, body, CONNECTIONS, requests)
        after = ours.memory()
    with mlflow_server(folder, uri) as url:
        rival_body = {"inputs": sample.tolist()}
        load(url, rival_body, 1, min(requests, 50))
        rival_one = load(url, rival_body, 1, max(requests // 20, 50))
        rival_many = load(url, rival_body, CONNECTIONS, max(requests // 20, 100))
    added = one.timing.median - alone.median
    ratio = many.rate / rival_many.rate
    p99 = swapped.timing.percentile(99) / many.timing.percentile(99)
    return [
        ("ONNX Runtime alone, one row", told(alone), None),
        ("ours over HTTP, one row, 1 connection", told(one.timing), None),
        (
            f"  added at the median: at most {duration(ADDED_SECONDS)}",
            duration(added),
            added <= ADDED_SECONDS,
        ),
        ("mlflow models serve, one row, 1 connection", told(rival_one.timing), None),
        (f"ours, {CONNECTIONS} connections", f"{many.rate:.0f} a second, {told(many.timing)}", None),
        (
            f"mlflow models serve, {CONNECTIONS} connections",
            f"{rival_many.rate:.0f} a second, {told(rival_many.timing)}",
            None,
        ),
        (f"  throughput: at least {TIMES_THROUGHPUT:g} x", f"{ratio:.1f} x", ratio >= TIMES_THROUGHPUT),
        (f"ours under {SWAPS} swaps: failed requests, 0", str(failures), failures == 0),
        (
            f"  p99 under swaps: at most {TIMES_P99:g} x",
            f"{duration(swapped.timing.percentile(99))}, {p99:.2f} x",
            p99 <= TIMES_P99,
        ),
        (
            f"resident memory after {requests} and {3 * requests} requests",
            f"{before / 2**20:.0f} MiB and {after / 2**20:.0f} MiB, {again.rate:.0f} a second at the end",
            None,
        ),
    ]


def told(timing: Timing) -> str:
    return f"p50 {duration(timing.median)}, p99 {duration(timing.percentile(99))}"


def registered(folder: Path, uri: str) -> None:
    """Two versions of a network with random weights, in MLflow's registry."""
    import torch

    from mlinfra.models import find_architecture
    from mlinfra.models.architecture import NetworkShape
    from mlinfra.models.normalized import Classifier, NormalizedNetwork
    from mlinfra.models.onnx_export import export_onnx
    from mlinfra.tracking.tracker import MlflowTracker

    architecture = find_architecture("hybrid_cnn_lstm")
    torch.manual_seed(7)
    network = architecture.network(architecture.configure({}), NetworkShape(WINDOW, FEATURES, 2))
    served = Classifier(NormalizedNetwork(network, mean=torch.zeros(FEATURES), scale=torch.ones(FEATURES)))
    metadata = {
        "mlinfra.features": json.dumps([f"f{number}" for number in range(FEATURES)]),
        "mlinfra.window_length": str(WINDOW),
        "mlinfra.label": "up",
        "mlinfra.classes": "[0, 1]",
    }
    example = np.zeros((1, WINDOW, FEATURES), np.float32)
    model = export_onnx(served, example, metadata, output_name="probabilities")
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    tracker = MlflowTracker(uri)
    tracker.client.create_experiment(NAME, artifact_location=str(folder / "artifacts"))
    with MlflowTracker(uri, experiment_name=NAME) as tracker:
        tracker.start_run()
        for _ in range(2):
            tracker.register_model(tracker.log_model(model, NAME), NAME)


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
    """Runs the load generator; gives what each answer took, and the rate."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, url: str, body: object, connections: int, requests: int) -> "Loaded":
        body_file, out = self._folder / "body.json", self._folder / "seconds.npy"
        body_file.write_text(json.dumps(body))
        argv = [sys.executable, "-m", "benchmarks.serving.load", url, str(body_file), str(out)]
        subprocess.run([*argv, "--connections", str(connections), "--requests", str(requests)], check=True)
        wall, *seconds = np.load(out).tolist()
        return Loaded(Timing(url, tuple(seconds)), len(seconds) / wall)


class Loaded:
    """Times of answers, and answers a second."""

    def __init__(self, timing: Timing, rate: float) -> None:
        self.timing = timing
        self.rate = rate


class OurServer:
    """A running server."""

    def __init__(self, url: str, pid: int) -> None:
        self.url = url
        self._pid = pid

    def memory(self) -> int:
        """Resident bytes."""
        pages = int(Path(f"/proc/{self._pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def swap(self, version: int) -> None:
        body = json.dumps({"model": f"models:/{NAME}/{version}"}).encode()
        request = urllib.request.Request(f"{self.url}/v2/models/{NAME}/swap", body, method="POST")
        with urllib.request.urlopen(request, timeout=60) as answer:
            answer.read()


def under_swaps(server: OurServer, load: Callable[[int], Loaded], requests: int) -> tuple[Loaded, int]:
    """The load while the model is swapped back and forth, and how many requests failed."""
    found: list[Loaded] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            found.append(load(requests))
        except subprocess.CalledProcessError as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    for number in range(SWAPS):
        server.swap(2 - number % 2)
    thread.join()
    if failed:
        raise failed[0]
    return found[0], 0


@contextmanager
def our_server(folder: Path, uri: str) -> Iterator[OurServer]:
    """``python -m mlinfra.serving`` of version 1, with a prediction log."""
    environment = os.environ | {
        "MLINFRA_SERVED_MODEL": f"models:/{NAME}/1",
        "MLFLOW_TRACKING_URI": uri,
        "PORT": "0",
        "MLINFRA_PREDICTION_LOG_URI": str(folder / "log"),
    }
    argv = [sys.executable, "-m", "mlinfra.serving"]
    process = subprocess.Popen(
        argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        url = ""
        for line in process.stdout:
            if "listening on " in line:
                url = line.strip().rpartition(" ")[2]
            if "ready: " in line:
                break
        yield OurServer(url, process.pid)
    finally:
        process.terminate()
        process.wait()


@contextmanager
def mlflow_server(folder: Path, uri: str) -> Iterator[str]:
    """``mlflow models serve`` of the same version."""
    port = free_port()
    argv = [sys.executable, "-m", "mlflow", "models", "serve", "-m", f"models:/{NAME}/1"]
    argv += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    environment = os.environ | {"MLFLOW_TRACKING_URI": uri}
    with (folder / "mlflow.log").open("wb") as log:
        process = subprocess.Popen(argv, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not answers(f"http://127.0.0.1:{port}/ping"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((folder / "mlflow.log").read_text())
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        os.killpg(process.pid, 15)
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


if __name__ == "__main__":
    typer.run(main)
