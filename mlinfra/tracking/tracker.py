"""One MLflow run as a training sees it: parameters, metrics, plots, models, registry and stages."""

import atexit
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, Self, TypeVar, cast

from mlinfra.errors import MlinfraError
from mlinfra.tracking.artifacts import read_artifact, write_artifact
from mlinfra.tracking.batches import Batch, MetricPoint
from mlinfra.tracking.connection import connect, lasting_uri, persistently, translated_errors
from mlinfra.tracking.contract import ATTEMPT_TAG, MODEL_TAG, PROGRESS_TAG, SHA256_TAG
from mlinfra.tracking.errors import NoActiveRunError, TrackingRefusedError, TrackingUnavailableError
from mlinfra.tracking.onnx_files import MODELS_PREFIX, load_onnx_model, sha256_of_model
from mlinfra.tracking.replay import replay_at_start, send_batch
from mlinfra.tracking.session import RunSession
from mlinfra.tracking.spool import SpooledRun, open_spool
from mlinfra.tracking.spool import spool_root as default_spool_root
from mlinfra.tracking.stages import STAGES, move_to_stage, production_version
from mlinfra.tracking.values import MAX_PARAM_LENGTH, flat_params, metric_points
from mlinfra.tracking.writer import Pace

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from matplotlib.figure import Figure
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from numpy.typing import NDArray
    from torch import nn

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
RunStatus = Literal["FINISHED", "FAILED", "KILLED"]

logger = logging.getLogger(__name__)

OUTAGE_SECONDS = 120.0
"""How long a call, and the end of a run, wait for an MLflow that is away, before they fail."""
EXIT_SECONDS = 10.0
"""How long the end of a script that did not end its run does."""
DATASET_SOURCE_TYPE = "mlinfra_feature_store"
MAX_PARAMS_IN_BATCH = 100


class MlflowTracker:
    """Tracks one run at a time. Use it as a context manager: leaving the block ends an open run.

    Metrics and tags are written in the background, and kept in files until they are written; all else is
    written before the call returns, and tried again for two minutes where MLflow is away. A script that
    ends without `end_run` ends its run as well.

    Args:
        tracking_uri: where MLflow runs; MLFLOW_TRACKING_URI, else MLflow's own default, where absent.
        experiment_name: experiment of new runs; MLFLOW_EXPERIMENT_NAME, else "Default", where absent.
        pace: how often metrics are sent.
        spool_root: folder of the files that outlive a crash; one in the user's state folder where absent.
        patience: how long a call and the end of the run wait for an MLflow that is away, in seconds.

    Raises:
        TrackingUnavailableError: MLflow does not answer.
    """

    def __init__(
        self,
        tracking_uri: str | None = None,
        *,
        experiment_name: str | None = None,
        pace: Pace | None = None,
        spool_root: Path | None = None,
        patience: float = OUTAGE_SECONDS,
    ) -> None:
        self.client: MlflowClient = connect(tracking_uri)
        self.tracking_uri = str(self.client.tracking_uri)
        self._experiment_name = experiment_name
        self._pace = pace
        self._spool_root = spool_root or default_spool_root()
        self._patience = patience
        self._run: Run | None = None
        self._session: RunSession | None = None
        self._known_names: set[str] = set()
        self.attempt = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._run is not None:
            self.end_run("FINISHED" if kind is None else "FAILED")

    @property
    def run_id(self) -> str:
        """ID of the active run.

        Raises:
            NoActiveRunError: there is none.
        """
        return str(self._active().info.run_id)

    def start_run(self, run_name: str | None = None, *, run_id: str | None = None) -> str:
        """Start a run, or go on with the one that ``run_id`` or MLFLOW_RUN_ID names.

        A run that goes on keeps its experiment, name and parameters; its attempt is counted in a tag.

        Returns:
            The ID of the run.
        """
        if self._run is not None:
            raise TrackingRefusedError(f"Run {self.run_id} is still active: call end_run() first.")
        # Only once, as MLflow itself does: a second run of this process is a new one.
        resumed = run_id or os.environ.pop("MLFLOW_RUN_ID", None)
        run = self._ask(self._resume, resumed) if resumed else self._ask(self._create, run_name)
        self.attempt = int(run.data.tags.get(ATTEMPT_TAG, "0")) + 1
        spooled = SpooledRun(lasting_uri(self.tracking_uri), str(run.info.run_id), self.attempt)
        # Before the attempt is raised: what an earlier attempt said last is still true.
        self._ask(replay_at_start, self.client, self._spool_root, spooled)
        self._ask(self.client.set_tag, run.info.run_id, ATTEMPT_TAG, str(self.attempt))
        self._run = run
        self._session = RunSession(
            partial(self._send, self.run_id), open_spool(self._spool_root, spooled), self._pace
        )
        self._continues = resumed is not None
        atexit.register(self._end_at_exit, os.getpid())
        return self.run_id

    def run_status(self, run_id: str) -> str:
        """The status of any run, such as ``RUNNING`` or ``FINISHED``."""
        return str(self._ask(self.client.get_run, run_id).info.status)

    def last_step(self, metric: str) -> int:
        """The greatest step at which the active run has a metric; 0 where it has none."""
        history = self._ask(self.client.get_metric_history, self.run_id, metric)
        return max((int(point.step) for point in history), default=0)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log parameters; a dictionary in them becomes ``outer.inner``.

        Logging the same value again is allowed, another value is refused. A value beyond MLflow's 6,000
        characters is cut, and kept whole as the artifact ``params/<name>.txt``.

        Raises:
            InvalidTrackingValueError: MLflow does not take a name.
            TrackingRefusedError: a parameter was logged with another value.
        """
        from mlflow.entities import Param

        self._active()
        flat = flat_params(params)
        for name in [name for name, value in flat.items() if len(value) > MAX_PARAM_LENGTH]:
            file = f"params/{name}.txt"
            self._ask(self.client.log_text, self.run_id, flat[name], file)
            logger.warning('parameter "%s" has %d characters: all are in %s', name, len(flat[name]), file)
            flat[name] = flat[name][:MAX_PARAM_LENGTH]
        entries = [Param(name, value) for name, value in flat.items()]
        for start in range(0, len(entries), MAX_PARAMS_IN_BATCH):
            chunk = entries[start : start + MAX_PARAMS_IN_BATCH]
            self._ask(self.client.log_batch, self.run_id, params=chunk)

    def log_metrics(self, metrics: Mapping[str, Any], step: int = 0) -> None:
        """Log metrics at a step, in the background.

        Args:
            metrics: numbers by name; numpy and torch scalars too. NaN is kept; MLflow keeps an infinity as
                the largest number there is.
            step: a whole number.

        Raises:
            InvalidTrackingValueError: MLflow does not take a name or a value.
        """
        self._session_of_run().writer.put(self._points(metrics, step))

    def log_epoch(self, metrics: Mapping[str, Any], step: int, *, progress: str) -> None:
        """Log an epoch's metrics and the new value of the progress tag together, in the background."""
        self._session_of_run().writer.put(self._points(metrics, step), {PROGRESS_TAG: progress})

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags of the run, in the background."""
        self._session_of_run().writer.put(tags={str(name): str(value) for name, value in tags.items()})

    def log_figure(self, figure: "Figure", file: str) -> None:
        """Log a matplotlib figure as an artifact, such as ``plots/confusion_matrix.png``."""
        self._ask(self.client.log_figure, self.run_id, figure, file)

    def log_dict(self, content: Mapping[str, Any], file: str) -> None:
        """Log a dictionary as an artifact, such as ``config.json``."""
        self._ask(self.client.log_dict, self.run_id, dict(content), file)

    def log_dataset(self, name: str, digest: str, source: Mapping[str, Any]) -> None:
        """Log what the run learns from as a data set of the run; logging it again changes nothing.

        Args:
            name: what people call it, such as the feature group.
            digest: which state of it, at most 36 characters.
            source: where it can be found again.
        """
        from mlflow.entities import Dataset, DatasetInput, InputTag

        dataset = Dataset(name, digest, source_type=DATASET_SOURCE_TYPE, source=json.dumps(source))
        entry = DatasetInput(dataset, tags=[InputTag("mlflow.data.context", "training")])
        self._ask(self.client.log_inputs, self.run_id, [entry])

    def log_bytes(self, content: bytes, file: str) -> None:
        """Log a file's content as an artifact, such as ``report.html``."""
        self._ask(write_artifact, self.client, self.run_id, content, file)

    def read_artifact(self, file: str) -> bytes | None:
        """The content of an artifact of the active run; None where it has none of that name."""
        return self._ask(read_artifact, self.client, self.run_id, file)

    def log_model(
        self,
        model: "onnx.ModelProto | nn.Module",
        name: str,
        *,
        input_example: "NDArray[np.float32] | None" = None,
        config: Mapping[str, Any] | None = None,
        beside: Mapping[str, bytes] | None = None,
        result: bool = False,
    ) -> str:
        """Log a model: ONNX as it is, a network as ONNX where ``input_example`` is given, else its weights.

        Args:
            model: an ONNX model or a torch network.
            name: name of the logged model, without ``/``, ``:`` and ``.``.
            input_example: an input, (batch, ...).
            config: what else is needed to build the network again; kept beside its weights.
            beside: content of other files to keep in the model's folder, by name.
            result: whether this is the one model that the run is for.

        Returns:
            The URI of the logged model, for `register_model`.

        Raises:
            UnsupportedModelError: it is neither; nothing is ever kept as a pickle.
        """
        from mlflow.entities import LoggedModelOutput

        from mlinfra.tracking.model_files import refuse_unsupported, write_model

        refuse_unsupported(model)
        from mlflow.models.model import Model

        run = self._active()
        logged = self._ask(
            self.client.create_logged_model,
            run.info.experiment_id,
            name=name,
            source_run_id=run.info.run_id,
        )
        description = Model(
            run_id=run.info.run_id, model_id=logged.model_id, artifact_path=logged.artifact_location
        )
        with tempfile.TemporaryDirectory(prefix="mlinfra-model-") as temporary:
            folder = Path(temporary, "model")
            write_model(folder, description, model, input_example=input_example, config=config)
            for file, content in (beside or {}).items():
                (folder / file).write_bytes(content)
            digest = sha256_of_model(folder)
            self._ask(self.client.log_model_artifacts, logged.model_id, str(folder))
        output = LoggedModelOutput(logged.model_id, step=0)
        self._ask(self.client.log_outputs, run.info.run_id, [output])
        tags = ({SHA256_TAG: digest} if digest else {}) | ({MODEL_TAG: "true"} if result else {})
        if tags:
            self._ask(self.client.set_logged_model_tags, logged.model_id, tags)
        self._ask(self.client.finalize_logged_model, logged.model_id, "READY")
        return f"{MODELS_PREFIX}{logged.model_id}"

    def withdraw_results(self) -> None:
        """Mark models that earlier attempts of this run logged as not its result."""
        run = self._ask(self.client.get_run, self.run_id)
        outputs = run.outputs.model_outputs if run.outputs else []
        for output in outputs:
            logged = self._ask(self.client.get_logged_model, output.model_id)
            if logged.tags.get(MODEL_TAG) == "true":
                # Not deleted: MLflow's route for that does not match a key with a slash.
                self._ask(self.client.set_logged_model_tags, logged.model_id, {MODEL_TAG: "false"})

    def register_model(self, model_uri: str, name: str) -> str:
        """Register a logged model as the next version of ``name``, which is created where absent.

        Returns:
            The number of the version, as MLflow's string.
        """
        from mlflow.exceptions import MlflowException

        def create_model() -> None:
            try:
                self.client.create_registered_model(name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise

        self._ask(create_model)
        logged_id = _logged_model_id(model_uri)
        logged = self._ask(self.client.get_logged_model, logged_id) if logged_id else None
        source = model_uri
        if logged is not None and self._is_local_and_not_default():
            source = logged.artifact_location
        created = self._ask(
            self.client.create_model_version,
            name,
            source,
            run_id=logged.source_run_id if logged else None,
            model_id=logged_id,
        )
        return str(created.version)

    def transition_model_stage(self, name: str, version: str | int, stage: str) -> None:
        """Bring a version to a stage. Another version in Production becomes Archived then."""
        wanted = next((known for known in STAGES if known.lower() == stage.lower()), None)
        if wanted is None:
            raise TrackingRefusedError(f'There is no stage "{stage}". There is: {", ".join(STAGES)}.')
        self._ask(move_to_stage, self.client, name, str(version), wanted)

    def production_version(self, name: str) -> str | None:
        """Number of the version of ``name`` in Production; None where there is none, or no such model."""
        return self._ask(production_version, self.client, name)

    def load_onnx_model(self, model_uri: str) -> "onnx.ModelProto":
        """The ONNX model behind ``models:/<name>/<version>``, ``models:/<name>@<alias>`` or a logged model.

        Raises:
            UnusableModelError: it is no ONNX model of one file, or damaged; nothing else is ever loaded.
        """
        return self._ask(load_onnx_model, self.client, model_uri)

    def flush(self, timeout: float | None = None) -> None:
        """Wait until all metrics and tags are written.

        Raises:
            TrackingUnavailableError: MLflow was away for all of ``timeout`` seconds.
        """
        self._session_of_run().writer.flush(self._patience if timeout is None else timeout)

    def end_run(self, status: RunStatus = "FINISHED", timeout: float | None = None) -> None:
        """Write what is left and end the run.

        Args:
            status: of the ended run.
            timeout: seconds to wait for an MLflow that is away; the tracker's patience where absent.

        Raises:
            TrackingUnavailableError: MLflow was away for too long; what is missing is kept for
                ``mlinfra runs sync``, and for the next start of a run.
        """
        self._finish(self._patience if timeout is None else timeout, status)

    def detach(self, timeout: float | None = None) -> None:
        """Write what is left and let go of the run, which goes on: another attempt may continue it.

        Raises:
            TrackingUnavailableError: as `end_run`.
        """
        self._finish(self._patience if timeout is None else timeout, None)

    def _finish(self, timeout: float, status: RunStatus | None) -> None:
        run_id, session = self.run_id, self._session_of_run()
        self._run = self._session = None
        atexit.unregister(self._end_at_exit)
        try:
            session.writer.close(timeout)
            if status is not None:
                persistently(partial(self._once, self.client.set_terminated, run_id, status), timeout=timeout)
        except TrackingUnavailableError as error:
            if (folder := session.leave(status)) is None:
                raise
            raise TrackingUnavailableError(
                f"{error} What is missing is kept in {folder}; when MLflow is back: mlinfra runs sync"
            ) from error
        except BaseException:
            session.leave(status)
            raise
        session.remove()

    def _end_at_exit(self, process: int) -> None:
        """End the run of a script that did not; a forked process has no part in it."""
        if self._run is None or os.getpid() != process:
            return
        failed = hasattr(sys, "last_value") and not hasattr(sys, "ps1")
        # A run that was continued may be continued again: who started it ends it.
        status: RunStatus = "FAILED" if failed else "FINISHED"
        self._patience = EXIT_SECONDS
        try:
            self._finish(self._patience, None if failed and self._continues else status)
        except MlinfraError as error:
            logger.error("%s", error)

    def _active(self) -> "Run":
        if self._run is None:
            raise NoActiveRunError("No run is active: call start_run() first.")
        return self._run

    def _session_of_run(self) -> RunSession:
        self._active()
        return cast(RunSession, self._session)

    def _points(self, metrics: Mapping[str, Any], step: Any) -> list[MetricPoint]:
        now = time.time_ns() // 1_000_000
        return metric_points(metrics, step, timestamp=now, known=self._known_names)

    def _ask(
        self, call: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Result:
        return persistently(partial(self._once, call, *args, **kwargs), timeout=self._patience)

    def _once(
        self, call: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Result:
        with translated_errors(self.tracking_uri):
            return call(*args, **kwargs)

    def _is_local_and_not_default(self) -> bool:
        """Whether MLflow, which asks the process's default store for logged models, would miss this one."""
        import mlflow

        remote = self.tracking_uri.startswith(("http://", "https://"))
        return not remote and self.tracking_uri != mlflow.get_tracking_uri()

    def _send(self, run_id: str, batch: Batch) -> None:
        with translated_errors(self.tracking_uri):
            send_batch(self.client, run_id, batch)

    def _resume(self, run_id: str) -> "Run":
        self.client.update_run(run_id, status="RUNNING")
        return self.client.get_run(run_id)

    def _create(self, run_name: str | None) -> "Run":
        from mlflow.tracking.context.registry import resolve_tags

        name = self._experiment_name or os.environ.get("MLFLOW_EXPERIMENT_NAME") or "Default"
        return self.client.create_run(self._experiment_id(name), run_name=run_name, tags=resolve_tags())

    def _experiment_id(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        found = self.client.get_experiment_by_name(name)
        if found is None:
            try:
                return self.client.create_experiment(name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                found = self.client.get_experiment_by_name(name)
        if found is None:
            raise TrackingRefusedError(f'MLflow gives no experiment "{name}".')
        return str(found.experiment_id)


def _logged_model_id(model_uri: str) -> str | None:
    """The ID in ``models:/<ID>``; None for ``models:/<name>/<version>`` and other URIs."""
    target = model_uri.removeprefix(MODELS_PREFIX)
    return target if model_uri.startswith(MODELS_PREFIX) and "/" not in target else None
