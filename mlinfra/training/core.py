"""One training from rows to a logged model: what the training pod and the local orchestrator both run."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pandas as pd
import torch

from mlinfra.models import find_architecture
from mlinfra.models.architecture import NetworkShape
from mlinfra.models.normalized import NormalizedNetwork
from mlinfra.tracking.tracker import MlflowTracker
from mlinfra.training.champion import Champion, ChampionScore, log_champion, score_champion
from mlinfra.training.config import TrainingConfig
from mlinfra.training.evaluation import Evaluation, evaluate
from mlinfra.training.objective import objective_for
from mlinfra.training.onnx_check import export_verified
from mlinfra.training.reproducibility import reproducible
from mlinfra.training.rows import RowKeys, labelled_rows
from mlinfra.training.run_log import EpochReporter, OnProgress, log_model, log_plots, log_start
from mlinfra.training.samples import make_samples
from mlinfra.training.trainer import Fit, choose_device, fit, predict

if TYPE_CHECKING:
    import onnx

OnStep = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What a training came to.

    Attributes:
        metrics: final values by metric key.
        evaluation: the measures on the test part.
        champion: those of the model in Production on the same rows; None where there is none.
        fit: all epochs, and the best of them.
        periods: first and last date of each part, as ``2015-01-02/2018-12-31``.
        model_uri: URI of the logged model.
        onnx_model: the exported model; None where none was asked for.
        seconds: wall time of each step.
    """

    metrics: Mapping[str, float]
    evaluation: Evaluation
    champion: ChampionScore | None
    fit: Fit
    periods: Mapping[str, str]
    model_uri: str
    onnx_model: "onnx.ModelProto | None"
    seconds: Mapping[str, float]


@dataclass(slots=True)
class Stopwatch:
    """Wall time of named steps; ``on_step`` is told of each when it begins."""

    on_step: OnStep
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a block."""
        self.on_step(name)
        started = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - started


def train(
    config: TrainingConfig,
    frame: pd.DataFrame,
    *,
    keys: RowKeys,
    champion: Champion | None = None,
    tracker: MlflowTracker,
    on_progress: OnProgress,
    on_step: OnStep = lambda _: None,
) -> TrainingResult:
    """Train, test and log a model into the tracker's active run, which stays open.

    Args:
        config: model, data, training parameters, validation, export.
        frame: rows of the feature group in the range of dates.
        keys: which of its columns are the time and the entity.
        champion: the model in Production, scored on the same test rows; None where there is none.
        tracker: its run is started.
        on_progress: called after each epoch.
        on_step: called with the name of each step when it begins.

    Raises:
        InvalidInputError: architecture, parameters or rows can never work.
        TrainingDivergedError: the loss is not a number.
        OnnxMismatchError: the exported graph computes something else than the network.
        TrackingUnavailableError: MLflow was away for too long.
    """
    watch = Stopwatch(on_step)
    architecture = find_architecture(config.model.architecture)
    parameters = architecture.configure(config.model.parameters or {})
    with watch.step("prepare"):
        rows = labelled_rows(frame, config.data, keys)
        samples = make_samples(rows, config.validation, window=config.data.window_length)
        objective = objective_for(
            rows, samples.train, task=config.data.task, class_weights=config.training.class_weights
        )
        log_start(config, parameters, samples, tracker)
    device = choose_device()
    reporter = EpochReporter(
        tracker,
        epochs=config.training.epochs,
        samples=len(samples.train.last_rows),
        primary=objective.primary,
        on_progress=on_progress,
    )
    with reproducible(config.training.seed):
        shape = NetworkShape(samples.window, features=len(rows.feature_names), outputs=objective.outputs)
        network = NormalizedNetwork(
            architecture.network(parameters, shape),
            mean=torch.from_numpy(samples.mean),
            scale=torch.from_numpy(samples.scale),
        )
        with watch.step("train"):
            fitted = fit(
                network, samples, config.training, objective=objective, on_epoch=reporter, device=device
            )
        with watch.step("evaluate"):
            served = objective.served(network)
            predictions = predict(served, samples, samples.test, objective, device=device)
            evaluation = evaluate(
                predictions, objective, rows, samples.test, embargo=config.validation.embargo
            )
            log_plots(predictions, config, samples, tracker)
            score = None
            if champion is not None:
                score = score_champion(champion, frame, samples, objective, data=config.data, keys=keys)
            log_champion(tracker, score)
    metrics: dict[str, float] = {
        "train_loss": fitted.best.train_loss,
        "val_loss": fitted.best.val_loss,
        **fitted.best.val_metrics,
        **evaluation.test_metrics(),
        **(score.run_metrics() if score else {}),
    }
    onnx_model = None
    if config.export.onnx:
        with watch.step("export"):
            onnx_model, difference = export_verified(served, objective, config, samples, expected=predictions)
        metrics["onnx_max_abs_difference"] = difference
    with watch.step("log model"):
        # The last epoch's step, a later time: MLflow's latest values are then those of the best epoch.
        tracker.log_metrics(metrics, step=len(fitted.epochs))
        model_uri = log_model(tracker, served, onnx_model, config=config, samples=samples)
        reporter.finish(len(fitted.epochs), metrics)
        tracker.flush()
    return TrainingResult(
        metrics=metrics,
        evaluation=evaluation,
        champion=score,
        fit=fitted,
        periods=samples.periods(),
        model_uri=model_uri,
        onnx_model=onnx_model,
        seconds=watch.seconds,
    )
