"""Brings what earlier processes left in their spools to MLflow.

Writing a point twice keeps one: to MLflow, points of the same metric, step, time and value are the same.
"""

import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import filelock

from mlinfra.tracking.batches import MAX_METRICS_IN_BATCH, Batch, MetricPoint
from mlinfra.tracking.connection import translated_errors
from mlinfra.tracking.contract import ATTEMPT_TAG
from mlinfra.tracking.errors import TrackingRefusedError
from mlinfra.tracking.spool import LOCK_FILE, RUN_FILE, UNFINISHED_PREFIX, SpooledRun, read_entries

if TYPE_CHECKING:
    from mlflow import MlflowClient

logger = logging.getLogger(__name__)

MAX_BYTES_AT_START = 8 << 20
"""Of other runs, a starting run brings no larger spools along: `mlinfra runs sync` does."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """A spool that no process holds any more.

    Attributes:
        folder: where it lies.
        run: the run it belongs to.
        segments: its files, oldest first.
        size: how large they are, in bytes.
    """

    folder: Path
    run: SpooledRun
    segments: tuple[Path, ...]
    size: int


def leftovers(root: Path | None) -> Iterator[Leftover]:
    """The spools that ended processes left; each is locked while it is looked at and replayed."""
    if root is None or not root.is_dir():
        return
    for folder in sorted(root.iterdir()):
        if folder.name.startswith(UNFINISHED_PREFIX):
            continue
        with _held(folder) as held:
            if not held:
                continue
            try:
                run = SpooledRun(**json.loads((folder / RUN_FILE).read_text(encoding="utf-8")))
            except FileNotFoundError:
                continue  # another process has replayed it just now
            except (OSError, ValueError, TypeError) as error:
                logger.warning("%s is damaged and left alone: %s", folder / RUN_FILE, error)
                continue
            segments = tuple(sorted(folder.glob("*.jsonl")))
            yield Leftover(folder, run, segments, sum(each.stat().st_size for each in segments))


def replay(client: "MlflowClient", leftover: Leftover) -> int:
    """Write a spool's points, tags and end to its run, and remove it.

    Tags and end are left out where a later attempt has the run by now: they are older than what it says.

    Returns:
        How many points were written.

    Raises:
        TrackingUnavailableError: MLflow is away; the spool stays, and nothing is lost.
        TrackingRefusedError: MLflow has no such run any more; the spool stays.
    """
    count, waiting = 0, list[MetricPoint]()
    tags: dict[str, str] = {}
    end: tuple[str, int] | None = None
    with translated_errors(leftover.run.tracking_uri):
        run = client.get_run(leftover.run.run_id)
        for entry in read_entries(leftover.segments):
            waiting.extend(entry.metrics)
            tags.update(entry.tags or {})
            end = entry.end or end
            while len(waiting) >= MAX_METRICS_IN_BATCH:
                send_batch(client, leftover.run.run_id, Batch(tuple(waiting[:MAX_METRICS_IN_BATCH])))
                del waiting[:MAX_METRICS_IN_BATCH]
                count += MAX_METRICS_IN_BATCH
        is_newest = int(run.data.tags.get(ATTEMPT_TAG, "0")) <= leftover.run.attempt
        send_batch(client, leftover.run.run_id, Batch(tuple(waiting), tags if is_newest else {}))
        if end is not None and is_newest and run.info.status == "RUNNING":
            client.set_terminated(leftover.run.run_id, end[0], end[1])
    shutil.rmtree(leftover.folder, ignore_errors=True)
    return count + len(waiting)


def replay_at_start(client: "MlflowClient", root: Path | None, run: SpooledRun) -> None:
    """Bring along what this run's earlier processes left, and small spools of other runs of this MLflow.

    What MLflow refuses stays, and is told of: it is no reason not to train.

    Raises:
        TrackingUnavailableError: MLflow is away.
    """
    for leftover in leftovers(root):
        same_run = leftover.run.run_id == run.run_id
        if leftover.run.tracking_uri != run.tracking_uri:
            continue
        if not same_run and leftover.size > MAX_BYTES_AT_START:
            logger.warning("Metrics of run %s wait for: mlinfra runs sync", leftover.run.run_id)
            continue
        try:
            count = replay(client, leftover)
        except TrackingRefusedError as error:
            logger.warning("%s stays: %s", leftover.folder, error)
        else:
            logger.info("%d metrics of run %s came from its spool", count, leftover.run.run_id)


def send_batch(client: "MlflowClient", run_id: str, batch: Batch) -> None:
    """Write a batch with one request; nothing where it is empty."""
    from mlflow.entities import Metric, RunTag

    metrics = [Metric(point.key, point.value, point.timestamp, point.step) for point in batch.metrics]
    tags = [RunTag(key, value) for key, value in batch.tags.items()]
    if metrics or tags:
        client.log_batch(run_id, metrics=metrics, tags=tags)


@contextmanager
def _held(folder: Path) -> Iterator[bool]:
    """Whether the folder's lock is ours for the time of the block: then its process is gone."""
    lock = filelock.FileLock(folder / LOCK_FILE, timeout=0, fallback_to_soft=False)
    try:
        lock.acquire()
    except (filelock.Timeout, OSError):
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
