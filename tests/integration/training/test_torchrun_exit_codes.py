"""What a pod that runs torchrun ends with."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlinfra.resources.names import (
    EXIT_INVALID_INPUT,
    EXIT_TERMINATED,
    TERMINATION_LOG_ENV,
    TRAINING_JOB_ENV,
)

COMMAND = [sys.executable, "-m", "mlinfra.training.torchrun", "--standalone"]
UNTOLD = (TRAINING_JOB_ENV, TERMINATION_LOG_ENV)


@pytest.mark.parametrize(
    ("program", "code"),
    [
        # A trainer that is told of no TrainingJob: bad input, as the trainer itself tells it.
        (["-m", "mlinfra.training"], EXIT_INVALID_INPUT),
        (["--no-python", "sh", "-c", "exit 3"], 1),
        # Stopped, as all processes are where one has to go.
        (["--no-python", "sh", "-c", "exit 143"], EXIT_TERMINATED),
        (["--no-python", "true"], 0),
    ],
)
def test_the_pods_code_tells_bad_input_and_a_stop_from_failures(program: list[str], code: int) -> None:
    ended = torchrun("--nproc-per-node", "2", *program)
    assert ended.returncode == code, ended.stderr


@pytest.mark.parametrize(("restarts", "runs"), [({}, 1), ({"PET_MAX_RESTARTS": "2"}, 3)])
def test_it_starts_its_processes_anew_only_as_often_as_the_pod_is_told(
    restarts: dict[str, str], runs: int, tmp_path: Path
) -> None:
    program = ["--no-python", "sh", "-c", f"echo run >> {tmp_path}/runs; exit 3"]
    ended = torchrun("--nproc-per-node", "1", *program, **restarts)
    assert ended.returncode == 1, ended.stderr
    assert (tmp_path / "runs").read_text().count("run") == runs


def test_a_pod_that_is_asked_to_stop_says_so() -> None:
    program = ["--no-python", "sh", "-c", "echo started; exec sleep 100"]
    process = subprocess.Popen(
        [*COMMAND, "--nproc-per-node", "1", *program], env=environment(), stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        process.terminate()
        assert process.wait(60) == EXIT_TERMINATED
    finally:
        process.kill()
        process.communicate()


def torchrun(*arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*COMMAND, *arguments],
        env=environment() | more,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in UNTOLD}
