"""The training steps as coroutines, for notebooks and services; the work runs in a thread of its own."""

import asyncio
import logging
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from mlinfra.errors import InvalidInputError, MlinfraError
from mlinfra.resources.built_in_training import (
    Export,
    ModelArchitecture,
    TrainingData,
    TrainingParameters,
    Validation,
)
from mlinfra.tracking.tracker import MlflowTracker
from mlinfra.training.config import (
    DEFAULT_ARCHITECTURE,
    InvalidConfigError,
    ModelConfig,
    TrainerConfig,
    TrainingConfig,
    ValidationConfig,
    changed,
)
from mlinfra.training.epochs import Epoch
from mlinfra.training.example import example_data
from mlinfra.training.interruption import Interruption
from mlinfra.training.local import (
    EXPORT_FOLDER,
    LocalTraining,
    Registration,
    train_locally,
)
from mlinfra.training.progress import Progress
from mlinfra.training.run_log import OnProgress

logger = logging.getLogger(__name__)


class TrainingCancelledError(MlinfraError):
    """The coroutine that waited for the training was cancelled."""


@dataclass(slots=True)
class TrainingOrchestrator:
    """Loads from the feature store, trains with tracking, evaluates, registers, exports and promotes.

    Args:
        model_config: architecture and its parameters.
        trainer_config: epochs, batch size, learning rate, early stopping, seed.
        data_config: feature group, label, dates, window; example data where absent.
        validation_config: how rows are held out; no embargo where ``data_config`` is given alone.
        tracking_uri: where MLflow runs; MLFLOW_TRACKING_URI, else a local store, where absent.
        experiment_name: experiment of the runs.
        export_folder: where ONNX files are written.
        export_config: in which forms the model is kept.
        on_progress: called after each epoch, in the training's thread.
    """

    model_config: ModelArchitecture = field(default_factory=ModelConfig)
    trainer_config: TrainingParameters = field(default_factory=TrainerConfig)
    data_config: TrainingData | None = None
    validation_config: Validation | None = None
    tracking_uri: str | None = None
    experiment_name: str | None = None
    export_folder: Path = EXPORT_FOLDER
    export_config: Export = field(default_factory=Export)
    on_progress: OnProgress | None = None

    def __await__(self) -> Generator[None, None, Self]:
        """The orchestrator itself: ``await get_training_orchestrator()`` gives it as the call alone does."""
        yield from ()
        return self

    async def train_model(
        self,
        model_name: str = DEFAULT_ARCHITECTURE,
        *,
        export_onnx: bool = True,
        export_int8: bool = False,
        auto_promote: bool = True,
        min_accuracy_for_promotion: float = 0.80,
        min_improvement_for_promotion: float = 0.0,
    ) -> dict[str, Any]:
        """Train and register a version; it takes Production where its test accuracy suffices.

        A model of values takes Production where its mean absolute error is below the baseline's. The version
        in Production is scored on the same test rows, and must be reached as well.

        Args:
            model_name: registered model in MLflow; also the name of the run.
            export_onnx: whether the model is exported; without it the next challenger cannot be compared.
            export_int8: whether a copy with 8-bit weights is kept as well, which is never served.
            auto_promote: whether the version may take Production.
            min_accuracy_for_promotion: the least test accuracy for that.
            min_improvement_for_promotion: how much better than the version in Production it must be, in
                accuracy or in mean absolute error; 0 allows equal.

        Returns:
            ``success``; then ``test_metrics`` (of classes ``accuracy``, ``balanced_accuracy``, ``f1``,
            ``roc_auc``, ...; of values ``mae``, ``rmse``, ``r2``, ...; see `mlinfra.training.measures`),
            ``baseline_metrics`` of an answer without learning, ``baseline_accuracy`` (None for values),
            ``champion`` (None, or its ``version``, ``test_metrics`` and ``problem``), ``periods``,
            ``run_id``, ``model_name``, ``version``, ``stage``, ``promoted``, ``promotion_reason``,
            ``onnx_path``, ``int8_path``, ``report_path``, ``epochs``, ``seconds``. Where ``success``
            is False: ``error`` and its ``reason``.
        """
        wanted = {"onnx": export_onnx, "int8": export_int8 or self.export_config.int8}
        try:
            export = changed(self.export_config, wanted)
        except InvalidConfigError as error:
            return failure(error)
        return await self._train(
            self.trainer_config,
            Registration(
                model_name=model_name,
                auto_promote=auto_promote,
                min_accuracy=min_accuracy_for_promotion,
                min_improvement=min_improvement_for_promotion,
            ),
            export,
        )

    async def quick_train(
        self, epochs: int = 50, batch_size: int = 64, learning_rate: float = 0.001
    ) -> dict[str, Any]:
        """Train with these three changed and register a version, which is not promoted.

        Returns:
            As `train_model`.
        """
        changes = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
        try:
            trainer_config = changed(self.trainer_config, changes)
        except InvalidConfigError as error:
            return failure(error)
        registration = Registration(model_name=self.model_config.architecture, auto_promote=False)
        return await self._train(trainer_config, registration, self.export_config)

    async def restore_production(self, model_name: str, version: str) -> None:
        """Let an older version have Production again; the one that has it is archived.

        Raises:
            TrackingUnavailableError: MLflow does not answer.
            TrackingRefusedError: it has no such version.
        """

        def work() -> None:
            with MlflowTracker(self.tracking_uri) as tracker:
                tracker.transition_model_stage(model_name, version, "Production")

        await asyncio.to_thread(work)

    async def _train(
        self, trainer_config: TrainingParameters, registration: Registration, export: Export
    ) -> dict[str, Any]:
        interruption = Interruption()

        def on_step(name: str) -> None:
            if interruption.requested:
                raise TrainingCancelledError(f"cancelled before the step {name}")

        def work() -> LocalTraining:
            return train_locally(
                self._config(trainer_config, export),
                registration,
                on_progress=self.on_progress or _tell_nobody,
                on_step=on_step,
                interruption=interruption,
                tracking_uri=self.tracking_uri,
                experiment_name=self.experiment_name,
                export_folder=self.export_folder,
            )

        try:
            return outcome(await asyncio.to_thread(work))
        except MlinfraError as error:
            logger.error("Training failed: %s", error)
            return failure(error)
        finally:
            # A thread cannot be cancelled: it ends itself after its batch, or before its next step.
            interruption.request()

    def _config(self, trainer_config: TrainingParameters, export: Export) -> TrainingConfig:
        if self.data_config is None:
            data, validation = example_data()
        else:
            data, validation = self.data_config, ValidationConfig()
        return TrainingConfig(
            data=data,
            model=self.model_config,
            training=trainer_config,
            validation=self.validation_config or validation,
            export=export,
        )


def get_training_orchestrator(
    model_config: ModelArchitecture | None = None,
    trainer_config: TrainingParameters | None = None,
    *,
    data_config: TrainingData | None = None,
    validation_config: Validation | None = None,
) -> TrainingOrchestrator:
    """An orchestrator; what is not given keeps its default."""
    return TrainingOrchestrator(
        model_config=model_config or ModelConfig(),
        trainer_config=trainer_config or TrainerConfig(),
        data_config=data_config,
        validation_config=validation_config,
    )


def _tell_nobody(_epoch: Epoch, _progress: Progress) -> None:
    """Where nobody wants to be told of an epoch."""


def outcome(training: LocalTraining) -> dict[str, Any]:
    """A local training as the dictionary that `TrainingOrchestrator.train_model` gives."""
    result = training.result
    evaluation = result.evaluation
    champion = result.champion
    return {
        "success": True,
        "test_metrics": dict(evaluation.measures),
        "baseline_metrics": dict(evaluation.baselines["baseline"]),
        "baseline_accuracy": evaluation.baselines["baseline"].get("accuracy"),
        "periods": dict(result.periods),
        "run_id": training.run_id,
        "model_name": training.model_name,
        "version": training.version,
        "stage": training.stage,
        "promoted": training.stage == "Production",
        "promotion_reason": training.promotion_reason,
        "champion": {
            "version": champion.version,
            "test_metrics": dict(champion.measures),
            "problem": champion.problem,
        }
        if champion
        else None,
        "onnx_path": str(training.onnx_path) if training.onnx_path else None,
        "report_path": str(training.report_path),
        "int8_path": str(training.int8_path) if training.int8_path else None,
        "epochs": len(result.fit.epochs),
        "seconds": dict(training.seconds),
    }


def failure(error: MlinfraError) -> dict[str, Any]:
    """An expected error as the dictionary that `TrainingOrchestrator.train_model` gives."""
    reason = error.reason if isinstance(error, InvalidInputError) else type(error).__name__
    return {"success": False, "error": str(error), "reason": reason}
