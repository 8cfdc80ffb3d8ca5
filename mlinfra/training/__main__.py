"""``python -m mlinfra.training``: trains the TrainingJob that the pod's environment describes."""

import argparse
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TYPE_CHECKING

from mlinfra import __version__
from mlinfra.errors import InvalidInputError, MlinfraError
from mlinfra.training.interruption import Interruption
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
    from mlinfra.training.checkpoints import Checkpoints
    from mlinfra.training.config import TrainingConfig
    from mlinfra.training.core import TrainingResult
    from mlinfra.training.data import TrainingRows
    from mlinfra.training.epochs import Epoch
    from mlinfra.training.progress import Progress
    from mlinfra.training.runtime import Runtime

    Joined = Callable[[TrainingConfig, TrainingRows], AbstractContextManager[Runtime]]
    """Joins the processes that train these rows together."""

OUTAGE_SECONDS = 3600.0
"""How long a training waits for an MLflow that is away: failing uses up one of few retries, and may lose what
it has learned. ``activeDeadlineSeconds`` ends it earlier where that is wanted."""
FLUSH_SECONDS = 10.0
"""How long a failing or stopped training tries to bring its last metrics to MLflow."""


def main() -> int:
    """Train; the exit code and the termination message are those that mlinfra.training.pod tells of."""
    arguments = argparse.ArgumentParser(prog="python -m mlinfra.training", description=__doc__)
    arguments.add_argument(
        "--processes", type=int, default=1, help="processes that train together in this pod, one for each GPU"
    )
    processes: int = arguments.parse_args().processes
    interruption = Interruption(outside=terminate)
    signal.signal(signal.SIGTERM, lambda _signal, _frame: interruption.request())
    rank = os.environ.get("RANK", "0")
    if rank == "0":
        say(f"mlinfra {__version__} trainer starts")
    limit_threads(processes=int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    try:
        run(interruption, processes)
    except (Exception, Terminated) as error:
        end = end_of(error)
        if rank != "0":
            # Its end is the first one's to tell, unless this is what the first one lost.
            print(f"process {rank}: {end.message}", file=sys.stderr, flush=True)
            return end.exit_code
        if isinstance(error, Terminated | MlinfraError):
            say(f"error: {error}" if isinstance(error, MlinfraError) else "stopped by SIGTERM")
        else:
            traceback.print_exc()
        write_termination_message(os.environ, end.message)
        return end.exit_code
    return 0


def run(interruption: Interruption, processes: int) -> None:
    """Train what the environment describes: as one of torchrun's processes, or with ``processes`` in all."""
    job = read_job(os.environ)
    if "RANK" not in os.environ:
        from mlinfra.training.launcher import local_processes

        every = job.spec.checkpoint.every_epochs if job.spec.checkpoint is not None else None
        lead(
            job,
            lambda config, rows: local_processes(
                processes,
                config,
                rows.frame,
                rows.keys,
                checkpoint_every=every,
                interruption=interruption,
            ),
        )
        return
    from mlinfra.training.runtime import joined_runtime

    with joined_runtime(os.environ, interruption) as runtime:
        if runtime.processes.first:
            lead(job, partial(already_joined, runtime))
            return
        # The run is the first process's: nothing here may write to it.
        os.environ.pop("MLFLOW_RUN_ID", None)
        take_part_in_job(job, runtime)


def lead(job: PodJob, joined: "Joined") -> None:
    """Be the first process: train into the run that the environment names, and end it as far as one may."""
    tracker = patient_tracker()
    tracker.start_run(job.metadata.name)
    say(f"MLflow run {tracker.run_id} at {tracker.tracking_uri}, attempt {tracker.attempt}")
    try:
        result = train_job(job, tracker, joined)
    except BaseException as error:
        leave(tracker, failed=isinstance(error, InvalidInputError))
        raise
    tracker.end_run("FINISHED")
    say(summary(result))


def patient_tracker(outage: float = OUTAGE_SECONDS) -> "MlflowTracker":
    """A tracker that waits for an MLflow that is away, so many seconds each time, from the start on."""
    from mlinfra.tracking.connection import persistently
    from mlinfra.tracking.tracker import MlflowTracker

    return persistently(partial(MlflowTracker, patience=outage), timeout=outage)


def train_job(job: PodJob, tracker: "MlflowTracker", joined: "Joined") -> "TrainingResult":
    """Train what the TrainingJob describes."""
    from mlinfra.features import get_feature_store
    from mlinfra.training.champion import find_champion
    from mlinfra.training.config import TrainingConfig
    from mlinfra.training.core import train
    from mlinfra.training.data import read_rows_of_run, record_snapshot

    config = TrainingConfig.from_spec(job.spec)
    champion = find_champion(tracker, job.spec.model_name)
    store = get_feature_store(feature_store_uri(os.environ))
    also = champion.features if champion else ()
    rows = read_rows_of_run(store, config.data, tracker, also=also, on_notice=say)
    say(f"{len(rows.frame)} rows of {config.data.feature_group}, {rows.snapshot.id}")
    problem = record_snapshot(rows.snapshot, store, tracker)
    if problem:
        say(f"the feature store does not keep that snapshot, the run does: {problem}")
    with joined(config, rows) as runtime:
        return train(
            config,
            rows.frame,
            keys=rows.keys,
            model_name=job.spec.model_name,
            snapshot=None if problem else rows.snapshot.id,
            champion=champion,
            tracker=tracker,
            on_progress=say_epoch,
            runtime=runtime,
            checkpoints=checkpoints_of(job, runtime, run_id=tracker.run_id),
        )


@contextmanager
def already_joined(runtime: "Runtime", _: "TrainingConfig", rows: "TrainingRows") -> Iterator["Runtime"]:
    """Tell the processes that torchrun started, which wait for it, which rows to read."""
    from mlinfra.training.data import tell_snapshot

    tell_snapshot(rows.snapshot, runtime.processes)
    yield runtime


def take_part_in_job(job: PodJob, runtime: "Runtime") -> None:
    """Train along with the first process."""
    from mlinfra.features import get_feature_store
    from mlinfra.training.config import TrainingConfig
    from mlinfra.training.data import read_again, told_snapshot
    from mlinfra.training.folds import prepare, take_part

    config = TrainingConfig.from_spec(job.spec)
    snapshot = told_snapshot(runtime.processes)
    # The rows are compared with the first one's before anything is learnt.
    rows = read_again(get_feature_store(feature_store_uri(os.environ)), snapshot, config.data, verify=False)
    preparation = prepare(config, rows.frame, rows.keys)
    take_part(preparation, runtime=runtime, checkpoints=checkpoints_of(job, runtime, run_id=None))


def checkpoints_of(job: PodJob, runtime: "Runtime", *, run_id: str | None) -> "Checkpoints | None":
    """The checkpoints that the TrainingJob asks for; a run's attempts share them.

    Args:
        run_id: of the run, in the process that writes them.
    """
    asked = job.spec.checkpoint
    if asked is None:
        return None
    from mlinfra.training.checkpoint_folder import open_folder
    from mlinfra.training.checkpoints import Checkpoints

    folder = open_folder(asked.storage_uri, job.spec.model_name, run_id) if run_id is not None else None
    return Checkpoints(
        folder,
        every_epochs=asked.every_epochs,
        keep_last=asked.keep_last,
        processes=runtime.processes,
        on_notice=say,
    )


def terminate() -> None:
    """End the process where it is, once: a second signal must not break off the flush after the first."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Terminated


def leave(tracker: "MlflowTracker", *, failed: bool) -> None:
    """Bring the last metrics to MLflow; unless it failed for good the run goes on with the next attempt."""
    try:
        if failed:
            tracker.end_run("FAILED", FLUSH_SECONDS)
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


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # All is written by now, and to take apart what PyTorch and its exporter built takes two seconds.
    os._exit(code)
