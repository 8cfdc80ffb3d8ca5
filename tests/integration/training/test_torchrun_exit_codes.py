"""What a pod that runs torchrun ends with."""

import os
import subprocess
import sys

import pytest

from mlinfra.resources.names import EXIT_INVALID_INPUT, TERMINATION_LOG_ENV, TRAINING_JOB_ENV

UNTOLD = (TRAINING_JOB_ENV, TERMINATION_LOG_ENV)


@pytest.mark.parametrize(
    ("program", "code"),
    [
        # A trainer that is told of no TrainingJob: bad input, as the trainer itself tells it.
        (["-m", "mlinfra.training"], EXIT_INVALID_INPUT),
        (["--no-python", "sh", "-c", "exit 3"], 1),
        (["--no-python", "true"], 0),
    ],
)
def test_only_bad_input_ends_with_the_code_that_needs_no_retry(program: list[str], code: int) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in UNTOLD}
    command = [sys.executable, "-m", "mlinfra.training.torchrun", "--standalone", "--nproc-per-node", "2"]
    ended = subprocess.run(
        [*command, *program], env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert ended.returncode == code, ended.stderr
