"""What logging costs a training: the same steps without it, with the tracker, and with plain MLflow calls.

Usage: python -m benchmarks.tracking_overhead [--small]

A step is a forward and a backward pass of a small network on one thread; three metrics are logged after
each, to a real MLflow server on this machine. The tracker's loop is long enough for its writer to send
while the steps run. Plain ``mlflow.log_metrics`` waits for the server in each step.
"""

import os
import signal
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.side_by_side import Comparison, Timing, alternate, report
from mlinfra.local.mlflow_server import ENVIRONMENT, choose_port, mlflow_server_argv
from mlinfra.local.network import LOOPBACK

START_SECONDS = 120.0

OnStep = Callable[[int, float], None]


def main(
    steps: Annotated[int, typer.Option(min=1, help="Steps in one loop.")] = 2000,
    rounds: Annotated[int, typer.Option(min=1, help="Loops of each kind.")] = 7,
    small: Annotated[bool, typer.Option(help="A short loop: whether it runs, not how fast.")] = False,
) -> None:
    """Measure a training loop with and without logging."""
    if small:
        steps, rounds = 50, 2
    os.environ |= ENVIRONMENT
    with tempfile.TemporaryDirectory(prefix="mlinfra-bench-") as folder, mlflow_server(Path(folder)) as uri:
        os.environ["MLINFRA_STATE_DIR"] = folder
        comparisons = measure(uri, steps=steps, rounds=rounds)
    raise typer.Exit(report(Console(), "Logging", comparisons, packages=("mlflow", "torch")))


def measure(uri: str, *, steps: int, rounds: int) -> list[Comparison]:
    """Run the loops against the MLflow at ``uri``; times are of one step."""
    import mlflow

    from mlinfra.tracking import get_mlflow_tracker

    loop = training_loop()
    mlflow.set_tracking_uri(uri)
    with get_mlflow_tracker(uri) as tracker:
        tracker.start_run("tracker")
        at = 0

        def log(_step: int, loss: float) -> None:
            nonlocal at
            at += 1
            tracker.log_metrics({"loss": loss, "accuracy": 0.5, "rate": 0.001}, step=at)

        taken = alternate(
            {"no logging": lambda: loop(steps, ignore), "tracker": lambda: loop(steps, log)}, rounds=rounds
        )
        tracker.flush()
        logged = len(tracker.client.get_metric_history(tracker.run_id, "loss"))
        assert logged == at, f"{logged} of {at} points arrived"
    few = max(1, steps // 20)
    with mlflow.start_run(run_name="plain"):

        def plain(step: int, loss: float) -> None:
            mlflow.log_metrics({"loss": loss, "accuracy": 0.5, "rate": 0.001}, step=step)

        plainly = alternate({"mlflow.log_metrics": lambda: loop(few, plain)}, rounds=rounds)
    bare, ours = (per_step(taken[name], steps) for name in ("no logging", "tracker"))
    blocking = per_step(plainly["mlflow.log_metrics"], few)
    work = "a training step, 3 metrics logged"
    return [Comparison(work, ours, bare), Comparison(work, ours, blocking)]


def training_loop() -> Callable[[int, OnStep], None]:
    """A loop of training steps: call it with their number and what to do after each."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(128, 512), torch.nn.ReLU(), torch.nn.Linear(512, 2))
    optimizer = torch.optim.AdamW(network.parameters())
    inputs, labels = torch.randn(256, 128), torch.randint(0, 2, (256,))

    def run(steps: int, on_step: OnStep) -> None:
        for step in range(steps):
            loss = torch.nn.functional.cross_entropy(network(inputs), labels)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            on_step(step, loss.item())

    return run


def ignore(_step: int, _loss: float) -> None:
    """Log nothing."""


def per_step(timing: Timing, steps: int) -> Timing:
    """A loop's times as times of one step."""
    return Timing(timing.name, tuple(seconds / steps for seconds in timing.seconds))


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """A MLflow server of its own for the time of the block."""
    from mlinfra.local.network import is_free

    port = choose_port(None, is_free=is_free)
    uri = f"http://{LOOPBACK}:{port}"
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            mlflow_server_argv(folder=folder, port=port),
            stdout=log,
            stderr=log,
            env=os.environ,
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + START_SECONDS
            while not healthy(uri):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit((folder / "server.log").read_text())
                time.sleep(0.1)
            yield uri
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def healthy(uri: str) -> bool:
    """Whether the server answers."""
    try:
        with urllib.request.urlopen(f"{uri}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


if __name__ == "__main__":
    typer.run(main)
