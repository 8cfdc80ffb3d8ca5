"""One training from rows to a logged model: what the training pod and the local orchestrator both run."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import pandas as pd

from mlinfra.monitoring.profile import ReferenceProfile
from mlinfra.tracking.tracker import MlflowTracker
from mlinfra.training.champion import Champion, ChampionScore, log_champion, score_champion
from mlinfra.training.checkpoints import Checkpoints, fingerprint_of
from mlinfra.training.config import TrainingConfig
from mlinfra.training.epochs import Fit
from mlinfra.training.evaluation import Evaluation
from mlinfra.training.figures import training_figures
from mlinfra.training.folds import (
    evaluate_fold,
    fold_metrics,
    fold_objective,
    prepare,
    train_folds,
    walk_forward_metrics,
)
from mlinfra.training.metadata import model_metadata
from mlinfra.training.onnx_check import Exported, export
from mlinfra.training.reference import reference_profile
from mlinfra.training.report import Reported, report_html
from mlinfra.training.rows import RowKeys
from mlinfra.training.run_log import (
    REPORT_ARTIFACT,
    EpochReporter,
    OnProgress,
    log_figures,
    log_model,
    log_start,
)
from mlinfra.training.runtime import Runtime, choose_device

OnStep = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What a training came to.

    Attributes:
        metrics: final values by metric key.
        evaluation: the measures on the test part.
        champion: those of the model in Production on the same rows; None where there is none.
        fit: all epochs of the newest fold, and the best of them.
        folds: test metrics of each fold of walk-forward validation, oldest first; of hold-out none.
        periods: first and last date of each part, as ``2015-01-02/2018-12-31``.
        model_uri: URI of the logged model.
        exported: the model as graphs; None where none was asked for.
        report: the page that tells of it, as HTML.
        profile: what it learnt from and how good it was, for those who watch it.
        seconds: wall time of each step.
    """

    metrics: Mapping[str, float]
    evaluation: Evaluation
    champion: ChampionScore | None
    fit: Fit
    folds: tuple[Mapping[str, float], ...]
    periods: Mapping[str, str]
    model_uri: str
    exported: Exported | None
    report: str
    profile: ReferenceProfile
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
    model_name: str | None = None,
    snapshot: str | None = None,
    champion: Champion | None = None,
    tracker: MlflowTracker,
    on_progress: OnProgress,
    on_step: OnStep = lambda _: None,
    runtime: Runtime | None = None,
    checkpoints: Checkpoints | None = None,
) -> TrainingResult:
    """Train, test and log a model into the tracker's active run, which stays open.

    Args:
        config: model, data, training parameters, validation, export.
        frame: rows of the feature group in the range of dates.
        keys: which of its columns are the time and the entity.
        model_name: registered model that the result is for.
        snapshot: ID of the rows' snapshot, where the feature store keeps it.
        champion: the model in Production, scored on the same test rows; None where there is none.
        tracker: its run is started.
        on_progress: called after each epoch.
        on_step: called with the name of each step when it begins.
        runtime: device and processes, of which this is the first; this process alone where absent.
        checkpoints: where the training's state is kept and gone on from; nowhere where absent.

    Raises:
        InvalidInputError: architecture, parameters or rows can never work.
        TrainingDivergedError: the loss is not a number.
        TrainingInterruptedError: the runtime's interruption was requested.
        PeerLostError: another process of the training ended, or does not answer.
        OnnxMismatchError: the exported graph computes something else than the network.
        TrackingUnavailableError: MLflow was away for too long.
    """
    watch = Stopwatch(on_step)
    runtime = runtime or Runtime(choose_device())
    with watch.step("prepare"):
        preparation = prepare(config, frame, keys)
        samples = preparation.newest
        if checkpoints is not None:
            checkpoints.open(fingerprint_of(config, preparation.rows))
        log_start(preparation, tracker)
    reporter = EpochReporter(
        tracker,
        epochs=config.training.epochs,
        samples=[len(each.train.last_rows) for each in preparation.folds],
        primary=fold_objective(preparation, samples).primary,
        on_progress=on_progress,
    )
    folds: list[Mapping[str, float]] = []
    if checkpoints is not None:
        folds += reporter.resume(checkpoints)
    with watch.step("train"):
        for fold in train_folds(preparation, runtime=runtime, on_epoch=reporter, checkpoints=checkpoints):
            if fold.samples is not samples:
                _, tested = evaluate_fold(fold, config, device=runtime.device)
                folds.append(tested.test_metrics())
                reporter.finish_fold(fold.number, folds[-1])
                if checkpoints is not None:
                    checkpoints.finish_fold(fold.fit.epochs, folds[-1])
    with watch.step("evaluate"):
        served, fitted = fold.served, fold.fit
        predictions, evaluation = evaluate_fold(fold, config, device=runtime.device)
        score = None
        if champion is not None:
            score = score_champion(champion, frame, samples, fold.objective, data=config.data, keys=keys)
        log_champion(tracker, score)
    metrics: dict[str, float] = {
        **fitted.best.metrics(),
        **evaluation.test_metrics(),
        **(score.run_metrics() if score else {}),
    }
    if len(preparation.folds) > 1:
        folds.append(evaluation.test_metrics())
        metrics |= fold_metrics(fold.number, folds[-1]) | walk_forward_metrics(folds)
    metadata = model_metadata(config, samples, fold.objective, model_name=model_name)
    exported = None
    if config.export.onnx:
        with watch.step("export"):
            exported = export(
                served, fold.objective, config, samples, expected=predictions, metadata=metadata
            )
        metrics |= exported.metrics
    with watch.step("report"):
        figures = training_figures(predictions, config, samples, fitted)
        log_figures(figures, tracker)
        report = report_html(
            Reported(
                config=config,
                samples=samples,
                fitted=fitted,
                evaluation=evaluation,
                champion=score,
                metrics=metrics,
                metadata=metadata,
                figures=figures,
                model_name=model_name,
                run_id=tracker.run_id,
                snapshot=snapshot,
            )
        )
        tracker.log_bytes(report.encode(), REPORT_ARTIFACT)
    with watch.step("log model"):
        # The last epoch's step, a later time: MLflow's latest values are then those of the best epoch.
        tracker.log_metrics(metrics, step=reporter.epoch)
        profile = reference_profile(samples, predictions, evaluation, model_name=model_name or "")
        model_uri = log_model(
            tracker, served, exported, config=config, samples=samples, metadata=metadata, profile=profile
        )
        reporter.finish(metrics)
        tracker.flush()
    return TrainingResult(
        metrics=metrics,
        evaluation=evaluation,
        champion=score,
        fit=fitted,
        folds=tuple(folds),
        periods=samples.periods(),
        model_uri=model_uri,
        exported=exported,
        report=report,
        profile=profile,
        seconds=watch.seconds,
    )
