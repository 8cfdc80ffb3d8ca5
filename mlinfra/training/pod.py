"""The contract of a training pod: what it is told by its environment, and what its end tells the operator.

========================  ==========  ==================  ===========================================
end                       exit code   MLflow run          termination message
========================  ==========  ==================  ===========================================
trained and logged        0           FINISHED            none
input that never works    78          FAILED              JSON ``{"reason", "message"}``
SIGTERM                   143         stays RUNNING       what was interrupted
any other error           1           stays RUNNING       the error
========================  ==========  ==================  ===========================================

A run stays RUNNING where another attempt may go on with it: the pod cannot know whether it is the last,
so the operator ends the run of a job that failed for good. A TrainingJob that cannot be read is refused
before MLflow is asked.
"""

import json
import sys
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ValidationError

from mlinfra.errors import InvalidInputError
from mlinfra.resources.base import ObjectMeta
from mlinfra.resources.names import (
    EXIT_INVALID_INPUT,
    EXIT_TERMINATED,
    FEATURE_STORE_URI_ENV,
    TERMINATION_LOG_ENV,
    TRAINING_JOB_ENV,
)
from mlinfra.resources.training_job import TrainingJobSpec
from mlinfra.training.errors import TrainingInterruptedError

EXIT_FAILURE = 1
MAX_TERMINATION_BYTES = 4096
"""What the kubelet keeps of a termination message."""


class InvalidSpecError(InvalidInputError):
    """The pod's environment does not hold a TrainingJob that this trainer understands."""

    reason = "InvalidSpec"


class Terminated(SystemExit):
    """SIGTERM arrived; the process ends with the exit code that Kubernetes expects then."""

    def __init__(self) -> None:
        super().__init__(EXIT_TERMINATED)


class PodJob(BaseModel):
    """The TrainingJob as the operator hands it to the pod."""

    metadata: ObjectMeta
    spec: TrainingJobSpec


@dataclass(frozen=True, slots=True)
class End:
    """How a training pod ends."""

    exit_code: int
    message: str


def read_job(environ: Mapping[str, str]) -> PodJob:
    """The TrainingJob in the environment.

    Raises:
        InvalidSpecError: it is absent, or another version of mlinfra wrote it.
    """
    if TRAINING_JOB_ENV not in environ:
        raise InvalidSpecError(
            f"{TRAINING_JOB_ENV} is not set: this is the entry point of a TrainingJob's pod. "
            "To train without Kubernetes, run train_model.py."
        )
    try:
        return PodJob.model_validate_json(environ[TRAINING_JOB_ENV])
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidSpecError(
            f"{TRAINING_JOB_ENV} is not a TrainingJob that this trainer understands: "
            f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}. "
            "Use a training image of the operator's version."
        ) from error


def feature_store_uri(environ: Mapping[str, str]) -> str | None:
    """Where the feature store is; its default where absent."""
    return environ.get(FEATURE_STORE_URI_ENV) or None


def end_of(error: BaseException) -> End:
    """The end that an error leads to."""
    if isinstance(error, Terminated):
        return End(EXIT_TERMINATED, "stopped by SIGTERM before the training was complete")
    if isinstance(error, TrainingInterruptedError):
        return End(EXIT_TERMINATED, f"stopped by SIGTERM: {error}")
    if isinstance(error, InvalidInputError):
        return End(EXIT_INVALID_INPUT, refusal(error.reason, str(error)))
    return End(EXIT_FAILURE, cut(f"{type(error).__name__}: {error}", MAX_TERMINATION_BYTES))


def refusal(reason: str, message: str) -> str:
    """The termination message of bad input: JSON, with as much of the message as the kubelet keeps."""

    def told(length: int) -> str:
        return json.dumps({"reason": reason, "message": message[:length]}, ensure_ascii=False)

    lengths = range(min(len(message), MAX_TERMINATION_BYTES) + 1)
    fitting = bisect_right(lengths, MAX_TERMINATION_BYTES, key=lambda length: len(told(length).encode()))
    return told(fitting - 1)


def cut(text: str, size: int) -> str:
    """The beginning of a text, ``size`` bytes of UTF-8 at most."""
    return text.encode()[:size].decode(errors="ignore")


def write_termination_message(environ: Mapping[str, str], message: str) -> None:
    """Leave the message where the kubelet finds it; without one configured, do nothing."""
    path = environ.get(TERMINATION_LOG_ENV)
    if not path:
        return
    try:
        Path(path).write_text(message, encoding="utf-8")
    except OSError as error:
        print(f"cannot write the termination message to {path}: {error}", file=sys.stderr, flush=True)
