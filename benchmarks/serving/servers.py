"""The servers that are measured: ours and ``mlflow models serve``, of the same model."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

NAME = "bench"
WINDOW, FEATURES = 20, 10
START_SECONDS = 180.0


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
    # It starts uvicorn by its name.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"MLFLOW_TRACKING_URI": uri, "PATH": path}
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
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
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
