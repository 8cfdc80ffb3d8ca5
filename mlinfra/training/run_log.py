"""What a training writes to its MLflow run: parameters, periods, epochs, plots and the model."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from torch import nn

from mlinfra import __version__
from mlinfra.monitoring.profile import PROFILE_FILE, ReferenceProfile
from mlinfra.resources.built_in_training import TrainingParameters
from mlinfra.tracking.tracker import MlflowTracker
from mlinfra.training.checkpoints import Checkpoints
from mlinfra.training.config import TrainingConfig
from mlinfra.training.epochs import Epoch
from mlinfra.training.folds import Preparation, fold_metrics
from mlinfra.training.objective import PrimaryMetric
from mlinfra.training.onnx_check import Exported
from mlinfra.training.progress import Progress, progress_tag, remaining_seconds
from mlinfra.training.samples import Samples

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OnProgress = Callable[[Epoch, Progress], None]
MODEL_ARTIFACT = "model"
REPORT_ARTIFACT = "report.html"
INT8_ARTIFACT = "int8/model.onnx"


class EpochReporter:
    """Tells the run and the caller of each epoch, counted over all folds.

    Args:
        tracker: its run is started.
        epochs: the most epochs of a fold.
        samples: training samples of each fold, oldest first.
        primary: the measure whose best value is told.
        on_progress: called after each epoch.
    """

    def __init__(
        self,
        tracker: MlflowTracker,
        *,
        epochs: int,
        samples: Sequence[int],
        primary: PrimaryMetric,
        on_progress: OnProgress,
    ) -> None:
        self._tracker = tracker
        self._epochs = epochs
        self._samples = list(samples)
        self._primary = primary
        self._best: float | None = None
        self._before = 0
        self._logged = 0
        self._on_progress = on_progress
        self._seconds: list[float] = []

    @property
    def epoch(self) -> int:
        """How many epochs were trained, over all folds."""
        return len(self._seconds)

    def __call__(self, epoch: Epoch) -> None:
        """Log an epoch's metrics and the progress."""
        progress = self._note(epoch)
        self._on_progress(epoch, progress)

    def _note(self, epoch: Epoch) -> Progress:
        self._seconds.append(epoch.seconds)
        value = epoch.val_metrics[f"val_{self._primary.name}"]
        if self._best is None or self._primary.is_better(value, self._best):
            self._best = value
        metrics = epoch.metrics()
        epochs = self._total()
        progress = Progress(
            epoch=self.epoch,
            epochs=epochs,
            remaining_seconds=remaining_seconds(self._seconds, epochs=epochs),
            metrics=metrics,
            best=self._best,
            samples_per_second=self._samples[0] / epoch.seconds,
        )
        new = self.epoch > self._logged
        self._log(metrics | {"epoch_seconds": epoch.seconds} if new else {}, progress)
        return progress

    def resume(self, checkpoints: Checkpoints) -> list[Mapping[str, float]]:
        """Go on after what the checkpoints tell of: the run gets what it lacks, and no step twice.

        Returns:
            Test metrics of each finished fold.
        """
        if self._tracker.attempt > 1 and not checkpoints.begun_anew:
            self._logged = self._tracker.last_step("train_loss")
        for number, fold in enumerate(checkpoints.finished, start=1):
            for epoch in fold.epochs:
                self._note(epoch)
            self.finish_fold(number, fold.metrics)
        for epoch in checkpoints.resumed_epochs:
            self._note(epoch)
        return [fold.metrics for fold in checkpoints.finished]

    def finish_fold(self, number: int, metrics: Mapping[str, float]) -> None:
        """Log a fold's test metrics; its successor begins."""
        self._before = self.epoch
        self._samples.pop(0)
        self._best = None
        self._tracker.log_metrics(fold_metrics(number, metrics), step=self.epoch)

    def finish(self, metrics: Mapping[str, float]) -> None:
        """Log that all is done."""
        self._log({}, Progress(self.epoch, self._total(), 0.0, metrics, finished=True))

    def _total(self) -> int:
        # A fold that stopped early leaves fewer epochs to come.
        return self._before + len(self._samples) * self._epochs

    def _log(self, metrics: Mapping[str, float], progress: Progress) -> None:
        tag = progress_tag(progress, attempt=self._tracker.attempt, now=datetime.now(UTC))
        self._tracker.log_epoch(metrics, progress.epoch, progress=tag)


def log_start(preparation: Preparation, tracker: MlflowTracker) -> None:
    """Log what is known before the first epoch: parameters, periods, the whole configuration."""
    if tracker.attempt > 1:
        tracker.withdraw_results()
    config, samples = preparation.config, preparation.newest
    tracker.log_params(
        {
            "architecture": config.model.architecture,
            **{f"model.{name}": value for name, value in preparation.architecture_config.to_wire().items()},
            "feature_group": config.data.feature_group,
            "label": config.data.label,
            "task": config.data.task,
            "window_length": samples.window,
            **training_params(config.training),
            "validation_strategy": config.validation.strategy,
            "folds": len(preparation.folds),
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


def training_params(training: TrainingParameters) -> dict[str, Any]:
    """The training's parameters as the run tells them; ``off`` of what is not used."""
    stopping, scheduler = training.early_stopping, training.scheduler
    return {
        "epochs": training.epochs,
        "batch_size": training.batch_size,
        "learning_rate": training.learning_rate,
        "optimizer": training.optimizer,
        "weight_decay": training.weight_decay,
        "scheduler": scheduler.name if scheduler else "off",
        "gradient_clip_norm": training.gradient_clip_norm or "off",
        "precision": training.precision,
        "class_weights": training.class_weights,
        "seed": training.seed,
        "early_stopping_patience": stopping.patience if stopping else "off",
        "early_stopping_metric": stopping.metric if stopping else "off",
    }


def log_figures(figures: Mapping[str, "Figure"], tracker: MlflowTracker) -> None:
    """Log figures by name, under ``plots/``."""
    for name, figure in figures.items():
        tracker.log_figure(figure, f"plots/{name}.png")


def log_model(
    tracker: MlflowTracker,
    served: nn.Module,
    exported: Exported | None,
    *,
    config: TrainingConfig,
    samples: Samples,
    metadata: Mapping[str, str],
    profile: ReferenceProfile,
) -> str:
    """Log the model as the run's result: ONNX where it was exported, else the weights.

    A copy with 8-bit weights is an artifact of the run, not a model of its own: it is never registered.

    Returns:
        The URI of the logged model.
    """
    beside = {PROFILE_FILE: profile.to_json()}
    if exported is None:
        described = {**config.to_wire(), **metadata}
        return tracker.log_model(served, MODEL_ARTIFACT, config=described, beside=beside, result=True)
    if exported.int8 is not None:
        tracker.log_bytes(exported.int8.SerializeToString(), INT8_ARTIFACT)
    example = samples.windows(samples.test.last_rows[-1:])
    return tracker.log_model(
        exported.graph, MODEL_ARTIFACT, input_example=example, beside=beside, result=True
    )
