"""A training without Kubernetes: rows from the feature store, a run, a registered version, its stage."""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from mlinfra.features import FeatureStore, get_feature_store
from mlinfra.features.files import make_folder, replace_file
from mlinfra.resources.model_name import MODEL_NAME_RULE, ModelName
from mlinfra.resources.promotion import Gate, Stage
from mlinfra.tracking import get_mlflow_tracker
from mlinfra.tracking.tracker import MlflowTracker
from mlinfra.training.champion import find_champion
from mlinfra.training.config import InvalidConfigError, TrainingConfig
from mlinfra.training.core import OnStep, Stopwatch, TrainingResult, train
from mlinfra.training.data import read_rows, record_snapshot
from mlinfra.training.errors import ExportFolderError, NothingToResumeError
from mlinfra.training.example import write_example_if_absent
from mlinfra.training.interruption import Interruption
from mlinfra.training.launcher import local_processes
from mlinfra.training.local_checkpoints import LocalCheckpoints
from mlinfra.training.promotion import PromotionDecision, PromotionRule, decide_promotion, unmet_gate
from mlinfra.training.run_log import OnProgress

logger = logging.getLogger(__name__)

EXPORT_FOLDER = Path("data") / "models"


@dataclass(frozen=True, slots=True)
class Registration:
    """What becomes of a trained model.

    Attributes:
        model_name: registered model in MLflow; also the name of the run.
        register: whether a new version is registered.
        auto_promote: whether the version takes Production where it is good enough, and at least as good as
            the version there on the same rows.
        min_accuracy: the least test accuracy that is; a model of values is good enough where it beats the
            baseline.
        min_improvement: how much better than the version in Production it must be; 0 allows equal.
        gates: bounds on further metrics of the run.
        stage: the stage that it takes then.
    """

    model_name: str
    register: bool = True
    auto_promote: bool = True
    min_accuracy: float = 0.80
    min_improvement: float = 0.0
    gates: tuple[Gate, ...] = ()
    stage: Stage = "Production"


@dataclass(frozen=True, slots=True)
class LocalTraining:
    """What a local training came to.

    Attributes:
        version: number of the registered version; None where none was registered.
        stage: the stage it has.
        promotion_reason: why it is in Production, or why not.
        onnx_path: the exported model; None where none was exported.
        int8_path: its copy with 8-bit weights; None where none was asked for.
        report_path: the page that tells of the training.
        seconds: wall time of each step.
    """

    result: TrainingResult
    run_id: str
    tracking_uri: str
    model_name: str
    version: str | None
    stage: Stage
    promotion_reason: str
    onnx_path: Path | None
    int8_path: Path | None
    report_path: Path
    seconds: Mapping[str, float] = field(default_factory=dict)


def train_locally(
    config: TrainingConfig,
    registration: Registration,
    *,
    on_progress: OnProgress,
    on_step: OnStep = lambda _: None,
    on_notice: Callable[[str], None] = logger.warning,
    interruption: Interruption | None = None,
    processes: int = 1,
    checkpoints: LocalCheckpoints | None = None,
    store: FeatureStore | None = None,
    tracking_uri: str | None = None,
    experiment_name: str | None = None,
    export_folder: Path = EXPORT_FOLDER,
) -> LocalTraining:
    """Train, register and promote in this process, with others to help where there are several.

    The run ends FINISHED, or FAILED where the training raises; KeyboardInterrupt and what ``on_progress`` and
    ``on_step`` raise end it so too.

    Args:
        config: what to learn, and how.
        registration: what becomes of the model.
        on_progress: called after each epoch.
        on_step: called with the name of each step when it begins.
        on_notice: told what a person should know of the checkpoints.
        interruption: by which somebody may stop the training after its batch.
        processes: how many train together on this machine, this one among them.
        checkpoints: where the training's state is kept, and whether to go on from there; none where absent.
        store: where the feature group is; the default store where absent.
        tracking_uri: where MLflow runs; MLFLOW_TRACKING_URI, else a local store, where absent.
        experiment_name: experiment of the run.
        export_folder: where the ONNX files are written.

    Raises:
        MlinfraError: the subclass tells what was wrong; see `mlinfra.training.core.train`.
    """
    watch = Stopwatch(on_step)
    check_model_name(registration.model_name)
    exports = export_folder / registration.model_name
    with _export_errors(exports):
        make_folder(exports)
    store = store or get_feature_store()
    resumed = checkpoints.run_to_resume(registration.model_name) if checkpoints is not None else None
    with watch.step("connect"):
        tracker = get_mlflow_tracker(tracking_uri, experiment_name=experiment_name)
        if resumed is not None:
            refuse_finished(tracker, resumed)
    with tracker:
        with watch.step("features"):
            write_example_if_absent(store, config.data.feature_group)
            champion = find_champion(tracker, registration.model_name)
            rows = read_rows(store, config.data, also=champion.features if champion else ())
        with watch.step("start"):
            run_id = tracker.start_run(registration.model_name, run_id=resumed)
            kept = record_snapshot(rows.snapshot, store, tracker) is None
        with local_processes(
            processes,
            config,
            rows.frame,
            rows.keys,
            checkpoint_every=checkpoints.every_epochs if checkpoints is not None else None,
            interruption=interruption,
        ) as runtime:
            result = train(
                config,
                rows.frame,
                keys=rows.keys,
                model_name=registration.model_name,
                snapshot=rows.snapshot.id if kept else None,
                champion=champion,
                tracker=tracker,
                on_progress=on_progress,
                on_step=on_step,
                runtime=runtime,
                checkpoints=checkpoints.open(
                    registration.model_name, run_id, processes=runtime.processes, on_notice=on_notice
                )
                if checkpoints is not None
                else None,
            )
        watch.seconds.update(result.seconds)
        # Before the registry changes: a training whose files cannot be written must not have promoted.
        files = write_files(exports / run_id, result)
        tracker.end_run("FINISHED")
        with watch.step("register"):
            in_production = tracker.production_version(registration.model_name)
            decision = promotion_of(registration, result, in_production)
            version = None
            stage: Stage = registration.stage if decision.promoted else "None"
            if registration.register:
                version = tracker.register_model(result.model_uri, registration.model_name)
                tracker.transition_model_stage(registration.model_name, version, stage)
    return LocalTraining(
        result=result,
        run_id=run_id,
        tracking_uri=tracker.tracking_uri,
        model_name=registration.model_name,
        version=version,
        stage=stage,
        promotion_reason=decision.reason,
        onnx_path=files.get("model.onnx"),
        int8_path=files.get("model.int8.onnx"),
        seconds=watch.seconds,
        report_path=files["report.html"],
    )


def refuse_finished(tracker: MlflowTracker, run_id: str) -> None:
    """Refuse to go on with a run that came to its end.

    Raises:
        NothingToResumeError: it did.
    """
    if tracker.run_status(run_id) == "FINISHED":
        raise NothingToResumeError(
            f"The newest checkpoint belongs to run {run_id}, which is finished: train anew."
        )


def check_model_name(name: str) -> None:
    """Refuse, before anything is trained, a name that MLflow would refuse after.

    Raises:
        InvalidConfigError: it breaks `mlinfra.resources.model_name.MODEL_NAME_RULE`.
    """
    try:
        TypeAdapter(ModelName).validate_python(name)
    except ValidationError as error:
        raise InvalidConfigError(f'Model name "{name}": {MODEL_NAME_RULE}.') from error


def promotion_of(
    registration: Registration, result: TrainingResult, in_production: str | None
) -> PromotionDecision:
    """Whether a trained model takes Production; see `decide_promotion`."""
    if not registration.register:
        return PromotionDecision(False, "it was not registered")
    if not registration.auto_promote:
        return PromotionDecision(False, "promotion was not asked for")
    if unmet := unmet_gate(registration.gates, result.metrics):
        return PromotionDecision(False, unmet)
    return decide_promotion(
        result.evaluation,
        rule=PromotionRule(registration.min_accuracy, registration.min_improvement),
        champion=result.champion,
        in_production=in_production,
    )


def write_files(folder: Path, result: TrainingResult) -> dict[str, Path]:
    """Write what a training leaves besides its run.

    Returns:
        The path of each file that was written, by its name.

    Raises:
        ExportFolderError: one cannot be written; those before it are there, each of them whole.
    """
    contents = {"report.html": result.report.encode()}
    if result.exported is not None:
        contents["model.onnx"] = result.exported.graph.SerializeToString()
        if result.exported.int8 is not None:
            contents["model.int8.onnx"] = result.exported.int8.SerializeToString()
    with _export_errors(folder):
        make_folder(folder)
        for name, content in contents.items():
            replace_file(folder / name, content)
    return {name: folder / name for name in contents}


@contextmanager
def _export_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ExportFolderError(
            f"{folder} cannot take the training's files: {error}. Nothing was registered; make room, or give "
            "another folder, and train again."
        ) from error
