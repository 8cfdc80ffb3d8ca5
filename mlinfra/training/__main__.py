"""``python -m mlinfra.training``: trains the TrainingJob that the pod's environment describes."""

import os
import signal
import sys
import time
import traceback
from types import FrameType
from typing import TYPE_CHECKING

from mlinfra import __version__
from mlinfra.errors import InvalidInputError, MlinfraError
from mlinfra.training.pod import (
    PodJob,
    Terminated,
    end_of,
    feature_store_uri,
    read_job,
    write_termination_message,
)
from mlinfra.training.threads import limit_threads

if TYPE_CHECKING:
    from mlinfra.tracking.tracker import MlflowTracker
    from mlinfra.training.core import TrainingResult
    from mlinfra.training.epochs import Epoch
    from mlinfra.training.progress import Progress

FLUSH_SECONDS = 10.0
"""How long a failing or stopped training tries to bring its last metrics to MLflow."""


def main() -> int:
    """Train; the exit code and the termination message are those that mlinfra.training.pod tells of."""
    signal.signal(signal.SIGTERM, _terminate)
    say(f"mlinfra {__version__} trainer starts")
    limit_threads()
    try:
        run()
    except (Exception, Terminated) as error:
        if isinstance(error, Terminated | MlinfraError):
            say(f"error: {error}" if isinstance(error, MlinfraError) else "stopped by SIGTERM")
        else:
            traceback.print_exc()
        end = end_of(error)
        write_termination_message(os.environ, end.message)
        return end.exit_code
    return 0


def run() -> None:
    """Train into the run that the environment names, and end the run as far as this attempt may."""
    job = read_job(os.environ)
    from mlinfra.tracking import get_mlflow_tracker

    tracker = get_mlflow_tracker()
    tracker.start_run(job.metadata.name)
    say(f"MLflow run {tracker.run_id} at {tracker.tracking_uri}, attempt {tracker.attempt}")
    try:
        result = train_job(job, tracker)
    except BaseException as error:
        leave(tracker, failed=isinstance(error, InvalidInputError))
        raise
    tracker.end_run("FINISHED")
    say(summary(result))


def train_job(job: PodJob, tracker: "MlflowTracker") -> "TrainingResult":
    """Train what the TrainingJob describes."""
    from mlinfra.features import get_feature_store
    from mlinfra.training.champion import find_champion
    from mlinfra.training.config import TrainingConfig
    from mlinfra.training.core import train
    from mlinfra.training.data import read_rows, record_snapshot

    config = TrainingConfig.from_spec(job.spec)
    champion = find_champion(tracker, job.spec.model_name)
    store = get_feature_store(feature_store_uri(os.environ))
    rows = read_rows(store, config.data, also=champion.features if champion else ())
    say(f"{len(rows.frame)} rows of {config.data.feature_group}, {rows.snapshot.id}")
    if problem := record_snapshot(rows.snapshot, store, tracker):
        say(f"the feature store does not keep that snapshot, the run does: {problem}")
    return train(
        config,
        rows.frame,
        keys=rows.keys,
        model_name=job.spec.model_name,
        champion=champion,
        tracker=tracker,
        on_progress=say_epoch,
    )


def leave(tracker: "MlflowTracker", *, failed: bool) -> None:
    """Bring the last metrics to MLflow; unless it failed for good the run goes on with the next attempt."""
    try:
        if failed:
            tracker.end_run("FAILED")
        else:
            tracker.detach(FLUSH_SECONDS)
    except MlinfraError as error:
        # The error that ended the training matters more than this one.
        say(f"MLflow was not told of the end: {error}")


def say(line: str) -> None:
    """One line for ``kubectl logs``, with the time."""
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


def say_epoch(epoch: "Epoch", progress: "Progress") -> None:
    """One line for an epoch."""
    measures = "".join(f"  {name} {value:.4f}" for name, value in epoch.val_metrics.items())
    say(
        f"epoch {progress.epoch}/{progress.epochs}  train_loss {epoch.train_loss:.4f}"
        f"  val_loss {epoch.val_loss:.4f}{measures}"
        f"  {epoch.seconds:.2f} s  {progress.remaining_seconds:.0f} s left"
    )


def summary(result: "TrainingResult") -> str:
    """One line on what came out."""
    steps = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in result.seconds.items())
    evaluation = result.evaluation
    return (
        f"test {evaluation.primary.name} {evaluation.score:.4f} on {result.periods['test']} (baseline "
        f"{evaluation.baseline_score:.4f}), model {result.model_uri} ({steps})"
    )


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    # A second signal must not break off the flush that follows the first.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Terminated


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # All is written by now, and to take apart what PyTorch and its exporter built takes two seconds.
    os._exit(code)
