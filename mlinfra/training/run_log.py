"""What a training writes to its MLflow run: parameters, periods, epochs, plots and the model."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import nn

from mlinfra import __version__
from mlinfra.models.architecture import ArchitectureConfig
from mlinfra.tracking.tracker import MlflowTracker
from mlinfra.training.config import TrainingConfig
from mlinfra.training.measures import confusion_matrix
from mlinfra.training.metadata import model_metadata
from mlinfra.training.objective import PrimaryMetric
from mlinfra.training.plots import confusion_matrix_figure
from mlinfra.training.progress import Progress, progress_tag, remaining_seconds
from mlinfra.training.samples import Samples
from mlinfra.training.trainer import Epoch

if TYPE_CHECKING:
    import onnx

OnProgress = Callable[[Epoch, Progress], None]
MODEL_ARTIFACT = "model"


class EpochReporter:
    """Tells the run and the caller of each epoch."""

    def __init__(
        self,
        tracker: MlflowTracker,
        *,
        epochs: int,
        samples: int,
        primary: PrimaryMetric,
        on_progress: Callable[[Epoch, Progress], None],
    ) -> None:
        self._tracker = tracker
        self._epochs = epochs
        self._samples = samples
        self._primary = primary
        self._best: float | None = None
        self._on_progress = on_progress
        self._seconds: list[float] = []

    def __call__(self, epoch: Epoch) -> None:
        """Log an epoch's metrics and the progress."""
        self._seconds.append(epoch.seconds)
        value = epoch.val_metrics[f"val_{self._primary.name}"]
        if self._best is None or self._primary.is_better(value, self._best):
            self._best = value
        metrics = {
            "train_loss": epoch.train_loss,
            "val_loss": epoch.val_loss,
            **epoch.val_metrics,
        }
        progress = Progress(
            epoch=epoch.number,
            epochs=self._epochs,
            remaining_seconds=remaining_seconds(self._seconds, epochs=self._epochs),
            metrics=metrics,
            best=self._best,
            samples_per_second=self._samples / epoch.seconds,
        )
        self._log(metrics | {"epoch_seconds": epoch.seconds}, progress)
        self._on_progress(epoch, progress)

    def finish(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Log that all is done."""
        self._log({}, Progress(epoch, self._epochs, 0.0, metrics, finished=True))

    def _log(self, metrics: Mapping[str, float], progress: Progress) -> None:
        tag = progress_tag(progress, attempt=self._tracker.attempt, now=datetime.now(UTC))
        self._tracker.log_epoch(metrics, progress.epoch, progress=tag)


def log_start(
    config: TrainingConfig, architecture: ArchitectureConfig, samples: Samples, tracker: MlflowTracker
) -> None:
    """Log what is known before the first epoch: parameters, periods, the whole configuration."""
    if tracker.attempt > 1:
        tracker.withdraw_results()
    training = config.training
    stopping = training.early_stopping
    tracker.log_params(
        {
            "architecture": config.model.architecture,
            **{f"model.{name}": value for name, value in architecture.to_wire().items()},
            "feature_group": config.data.feature_group,
            "label": config.data.label,
            "task": config.data.task,
            "window_length": samples.window,
            "epochs": training.epochs,
            "batch_size": training.batch_size,
            "learning_rate": training.learning_rate,
            "optimizer": training.optimizer,
            "weight_decay": training.weight_decay,
            "class_weights": training.class_weights,
            "seed": training.seed,
            "early_stopping_patience": stopping.patience if stopping else "off",
            "validation_fraction": config.validation.validation_fraction,
            "test_fraction": config.validation.test_fraction,
            "embargo": config.validation.embargo,
        }
    )
    # Tags, not parameters: a later attempt may see newer rows, and parameters cannot change.
    tracker.set_tags({f"{name}_period": period for name, period in samples.periods().items()})
    tracker.log_dict(
        {
            **config.to_wire(),
            "features": list(samples.rows.feature_names),
            "classes": list(samples.rows.classes),
            "samples": {name: len(part.last_rows) for name, part in samples.parts().items()},
            "mlinfraVersion": __version__,
        },
        "config.json",
    )


def log_plots(
    predictions: NDArray[np.float32], config: TrainingConfig, samples: Samples, tracker: MlflowTracker
) -> None:
    """Log what the predictions for the test part look like, under ``plots/``."""
    if config.data.task != "Classification":
        return
    classes = samples.rows.classes
    label = samples.rows.label[samples.test.last_rows]
    figure = confusion_matrix_figure(
        confusion_matrix(predictions.argmax(axis=1), label, classes=len(classes)),
        classes,
        title=f"{config.data.label}, {samples.test.period.replace('/', ' to ')}",
    )
    tracker.log_figure(figure, "plots/confusion_matrix.png")


def log_model(
    tracker: MlflowTracker,
    served: nn.Module,
    onnx_model: "onnx.ModelProto | None",
    *,
    config: TrainingConfig,
    samples: Samples,
) -> str:
    """Log the model as the run's result: ONNX where it was exported, else the weights.

    Returns:
        The URI of the logged model.
    """
    if onnx_model is None:
        described = {**config.to_wire(), **model_metadata(config, samples)}
        return tracker.log_model(served, MODEL_ARTIFACT, config=described, result=True)
    example = samples.windows(samples.test.last_rows[-1:])
    return tracker.log_model(onnx_model, MODEL_ARTIFACT, input_example=example, result=True)
