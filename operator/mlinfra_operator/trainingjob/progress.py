"""How far a training is, as its MLflow run tells. Pure."""

import math
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from mlinfra.resources.training_job import TrainingJobSpec
from mlinfra.resources.training_job_status import TrainerStatus
from mlinfra.tracking.contract import ATTEMPT_TAG, PROGRESS_TAG
from mlinfra_operator.conditions import timestamp
from mlinfra_operator.metrics import metric_list
from mlinfra_operator.tracking import Point, Run

STEPS_PARAMETER = "max_steps"
"""How many steps a script trains for; where it is positive, as with transformers, epochs do not end it."""
EPOCH_PARAMETERS = ("epochs", "max_epochs", "num_train_epochs")
NUMBER = re.compile(r"\d{1,9}(\.\d{1,9})?")
ATTEMPT = re.compile(r"[0-9]{1,9}")
LARGEST = 2**31 - 1
"""What any client of the API reads as an integer."""
TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"
END_OF_TIME = 253_402_300_800_000
"""The first millisecond that a status cannot tell."""
AUTOLOG_TAG = "mlflow.autologging"
LIGHTNING_TAG = "Mode"
"""Set where autologging of PyTorch watches a Lightning trainer."""


def _real_time(text: str) -> str:
    datetime.fromisoformat(text)
    return text


class ProgressTag(BaseModel):
    """The progress tag of `mlinfra.tracking.contract`; fields that a newer trainer adds are ignored."""

    model_config = ConfigDict(alias_generator=to_camel, allow_inf_nan=False)

    attempt: int | None = None
    current_epoch: int = Field(ge=0, le=LARGEST)
    total_epochs: int = Field(ge=1, le=LARGEST)
    progress_percentage: int = Field(ge=0, le=100)
    estimated_remaining_seconds: int | None = Field(default=None, ge=0, le=LARGEST)
    metrics: dict[str, float] = Field(default_factory=dict)
    last_updated_time: Annotated[str, Field(pattern=TIME), AfterValidator(_real_time)] | None = None


@dataclass(frozen=True, slots=True)
class Way:
    """What an own script has done, and has to do in all.

    Attributes:
        total: epochs or steps to do.
        points: how many were done when, the newest last; never none.
        in_epochs: whether it is epochs that are counted.
    """

    total: float
    points: tuple[Point, ...]
    in_epochs: bool

    @property
    def done(self) -> float:
        """Epochs or steps that are done."""
        return self.points[-1].count


def trainer_status(
    run: Run, spec: TrainingJobSpec, before: TrainerStatus | None = None
) -> TrainerStatus | None:
    """Progress by the trainer's tag, else by what the own script logs; None before anything is logged.

    Args:
        run: the run, with the points of its way that were seen before.
        spec: of the TrainingJob.
        before: what was told last.
    """
    tag = _tag(run)
    if tag is not None:
        return TrainerStatus(
            progress_percentage=tag.progress_percentage,
            estimated_remaining_seconds=tag.estimated_remaining_seconds,
            current_epoch=tag.current_epoch,
            total_epochs=tag.total_epochs,
            metrics=metric_list(tag.metrics),
            last_updated_time=tag.last_updated_time,
        )
    if not run.metrics:
        return None
    status = TrainerStatus(metrics=metric_list(run.metrics), **_progress(run, spec))
    if before is not None and _as_far(status, before):
        # An operator that has just started has seen no pace yet.
        return status.model_copy(update={"estimated_remaining_seconds": before.estimated_remaining_seconds})
    return status


def final_status(run: Run, spec: TrainingJobSpec) -> TrainerStatus | None:
    """Progress of a training that is complete, with all final metrics."""
    status = trainer_status(run, spec)
    if status is None:
        return None
    tag = _tag(run)
    final = metric_list({**run.metrics, **(tag.metrics if tag else {})})
    return status.model_copy(
        update={"metrics": final, "progress_percentage": 100, "estimated_remaining_seconds": 0}
    )


def attempt_of(run: Run | None) -> int:
    """The attempt that writes to the run; 0 before the first one started."""
    text = run.tags.get(ATTEMPT_TAG, "") if run else ""
    return int(text) if ATTEMPT.fullmatch(text) else 0


def _tag(run: Run) -> ProgressTag | None:
    text = run.tags.get(PROGRESS_TAG)
    if text is None:
        return None
    try:
        tag = ProgressTag.model_validate_json(text)
    except ValidationError:
        # Any process may write this tag; what does not follow the contract tells nothing.
        return None
    return tag if tag.attempt is None or tag.attempt >= attempt_of(run) else None


def _as_far(status: TrainerStatus, before: TrainerStatus) -> bool:
    """Whether a status that knows of no pace tells of the same progress as the one before."""
    same = status.progress_percentage == before.progress_percentage
    return same and status.progress_percentage is not None and status.estimated_remaining_seconds is None


def _progress(run: Run, spec: TrainingJobSpec) -> dict[str, Any]:
    """Fields of the status that follow from how far an own script had logged."""
    newest = [points[-1] for points in (run.epochs, run.steps) if points]
    told: dict[str, Any] = {"last_updated_time": _time(newest)}
    if run.epochs:
        told["current_epoch"] = int(run.epochs[-1].count)
    way = _way(run, spec)
    if way is None:
        return told
    if way.in_epochs:
        told |= {"current_epoch": int(way.done), "total_epochs": math.ceil(way.total)}
    told["progress_percentage"] = min(100, int(100 * way.done / way.total))
    told["estimated_remaining_seconds"] = _remaining_seconds(way)
    return told


def _way(run: Run, spec: TrainingJobSpec) -> Way | None:
    """None where the run does not tell what it has to do, or how much of it is done."""
    steps = _number(run, STEPS_PARAMETER)
    # Metrics that are logged without a step are all at 0.
    if steps is not None and run.steps and run.steps[-1].count > 0:
        return Way(steps, run.steps, in_epochs=False)
    epochs = _epochs(run, spec)
    if epochs is None:
        return None
    if run.epochs:
        return Way(epochs, run.epochs, in_epochs=True)
    if _autologs_epochs(run) and run.steps and 0 <= run.steps[-1].count < epochs:
        ended = tuple(Point(point.count + 1, point.milliseconds) for point in run.steps)
        return Way(epochs, ended, in_epochs=True)
    return None


def _autologs_epochs(run: Run) -> bool:
    """Whether the step of the run's metrics is the number of the epoch that ended, from 0."""
    flavor = run.tags.get(AUTOLOG_TAG)
    return flavor in ("keras", "tensorflow") or (flavor == "pytorch" and LIGHTNING_TAG in run.tags)


def _epochs(run: Run, spec: TrainingJobSpec) -> float | None:
    logged = [found for name in EPOCH_PARAMETERS if (found := _number(run, name)) is not None]
    if logged:
        return logged[0]
    return spec.training.epochs if "training" in spec.model_fields_set else None


def _number(run: Run, name: str) -> float | None:
    """A positive parameter; transformers logs whole epochs as 3 or 3.0, and no limit of steps as -1."""
    text = run.params.get(name, "")
    return float(text) if NUMBER.fullmatch(text) and float(text) > 0 else None


def _remaining_seconds(way: Way) -> int | None:
    """Time left at the median pace between the points; None where there is but one, or no end in sight."""
    left = way.total - way.done
    if left <= 0:
        return 0
    paces = [
        (later.milliseconds - earlier.milliseconds) / (later.count - earlier.count)
        for earlier, later in pairwise(way.points)
    ]
    seconds = statistics.median(paces) * left / 1000 if paces else math.nan
    # What is counted may be any fraction, and its pace then beyond all floats.
    return min(round(seconds), LARGEST) if math.isfinite(seconds) else None


def _time(points: Sequence[Point]) -> str | None:
    milliseconds = max((point.milliseconds for point in points), default=-1)
    # A script may give its metrics any time.
    if not 0 <= milliseconds < END_OF_TIME:
        return None
    return timestamp(datetime.fromtimestamp(milliseconds / 1000, UTC))
