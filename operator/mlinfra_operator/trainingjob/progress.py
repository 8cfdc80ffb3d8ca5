"""How far a training is, as its MLflow run tells. Pure."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from mlinfra.resources.training_job import TrainingJobSpec
from mlinfra.resources.training_job_status import TrainerStatus
from mlinfra.tracking.contract import ATTEMPT_TAG, PROGRESS_TAG
from mlinfra_operator.metrics import metric_list
from mlinfra_operator.tracking import Run

EPOCH_METRIC = "epoch"
EPOCH_PARAMETERS = ("epochs", "max_epochs", "num_train_epochs")


class ProgressTag(BaseModel):
    """The progress tag of `mlinfra.tracking.contract`; fields that a newer trainer adds are ignored."""

    model_config = ConfigDict(alias_generator=to_camel, allow_inf_nan=False)

    attempt: int | None = None
    current_epoch: int = Field(ge=0)
    total_epochs: int = Field(ge=1)
    progress_percentage: int = Field(ge=0, le=100)
    estimated_remaining_seconds: int | None = Field(default=None, ge=0)
    metrics: dict[str, float] = Field(default_factory=dict)
    last_updated_time: str | None = Field(default=None, pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")


def trainer_status(run: Run, spec: TrainingJobSpec) -> TrainerStatus | None:
    """Progress by the trainer's tag, else by what the own script logs; None before anything is logged."""
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
    return _by_metrics(run, spec)


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
    return int(text) if text.isdecimal() else 0


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


def _by_metrics(run: Run, spec: TrainingJobSpec) -> TrainerStatus:
    epoch, total = run.metrics.get(EPOCH_METRIC), _total_epochs(run, spec)
    done: dict[str, Any] = {}
    if epoch is not None and 0 <= epoch < 1e9:
        done["current_epoch"] = int(epoch)
        if total is not None:
            done["total_epochs"] = total
            done["progress_percentage"] = min(100, int(100 * epoch / total))
    return TrainerStatus(metrics=metric_list(run.metrics), **done)


def _total_epochs(run: Run, spec: TrainingJobSpec) -> int | None:
    for name in EPOCH_PARAMETERS:
        text = run.params.get(name, "")
        if text.isdecimal() and int(text) > 0:
            return int(text)
    return spec.training.epochs if "training" in spec.model_fields_set else None
