"""Reads the rows of a training from the feature store, and records which they were."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import pandas as pd

from mlinfra.features import (
    CorruptFeatures,
    FeatureStore,
    FeatureStoreUnavailable,
    Snapshot,
    UnknownFeatureGroup,
)
from mlinfra.resources.built_in_training import TrainingData
from mlinfra.tracking.contract import FEATURE_SNAPSHOT_PROBLEM_TAG, FEATURE_SNAPSHOT_TAG
from mlinfra.tracking.tracker import MlflowTracker
from mlinfra.training.errors import EmptyDateRangeError
from mlinfra.training.processes import Processes
from mlinfra.training.rows import RowKeys

SNAPSHOT_FILE = "feature_snapshot.json"
MAX_PROBLEM_LENGTH = 1000


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """What a training learns from.

    Attributes:
        frame: the rows.
        keys: which of its columns are the time and the entity.
        snapshot: which rows they are; the feature store holds it only after `record_snapshot`.
    """

    frame: pd.DataFrame
    keys: RowKeys
    snapshot: Snapshot


def read_rows(store: FeatureStore, data: TrainingData, *, also: Collection[str] = ()) -> TrainingRows:
    """The rows of a feature group between its dates, or those of a snapshot.

    Args:
        store: where the group is.
        data: group, dates or snapshot, features and label.
        also: further columns to read, where the group has them.

    Raises:
        UnknownFeatureGroup: nothing was written under this name, or the snapshot does not hold it.
        UnknownSnapshot: there is no such snapshot.
        EmptyDateRangeError: no row lies between the dates; the message tells which dates there are.
        CorruptFeatures: a file is missing or damaged, or no longer what it was when the snapshot was taken.
    """
    if data.snapshot is not None:
        return read_again(store, store.get_snapshot(data.snapshot), data, also=also)
    columns = _columns(data, also, store.get_feature_group(data.feature_group).features)
    start = data.start_date if data.last_days is None else _days_before_the_end(store, data, data.last_days)
    snapshot = store.describe_snapshot(
        data.feature_group, start_date=start, end_date=data.end_date, columns=columns
    )
    rows = _rows(snapshot, data, store.read_snapshot(snapshot, verify=False))
    if rows.frame.empty:
        times = store.read_offline_features(data.feature_group, columns=[])[rows.keys.time]
        there_is = f"It has {times.min():%Y-%m-%d} to {times.max():%Y-%m-%d}" if len(times) else "It is empty"
        raise EmptyDateRangeError(
            f'Feature group "{data.feature_group}" has no rows between {data.start_date or "its beginning"} '
            f"and {data.end_date or 'its end'}. {there_is}."
        )
    return rows


def read_again(
    store: FeatureStore,
    snapshot: Snapshot,
    data: TrainingData,
    *,
    also: Collection[str] = (),
    verify: bool = True,
) -> TrainingRows:
    """The rows of a snapshot, whether or not the store keeps its manifest.

    Args:
        store: where the files are.
        snapshot: which rows.
        data: group, features and label; the dates do not count.
        also: as of `read_rows`.
        verify: compare the files' hashes first.

    Raises:
        UnknownFeatureGroup: the snapshot does not hold the group.
        CorruptFeatures: a file is missing or damaged, or no longer what it was when the snapshot was taken.
    """
    columns = _columns(data, also, snapshot.of_group(data.feature_group).features)
    frame = store.read_snapshot(snapshot, data.feature_group, columns, verify=verify)
    return _rows(snapshot, data, frame)


def read_rows_of_run(
    store: FeatureStore,
    data: TrainingData,
    tracker: MlflowTracker,
    *,
    also: Collection[str] = (),
    on_notice: Callable[[str], None],
) -> TrainingRows:
    """The rows that earlier attempts of the active run learnt from, whatever was written since.

    Where they cannot be read any more, as after a vacuum of files that no snapshot in the store protected,
    the attempt learns from the rows there are now: checkpoints of the earlier ones are then not gone on from.

    Args:
        store, data, also: as of `read_rows`.
        tracker: its run is started.
        on_notice: told which rows an attempt after the first reads, and why.

    Raises:
        MlinfraError: as `read_rows`, of the rows there are now.
    """
    content = tracker.read_artifact(SNAPSHOT_FILE) if tracker.attempt > 1 else None
    if content is None:
        return read_rows(store, data, also=also)
    try:
        snapshot = Snapshot.from_json(content, where=f"{SNAPSHOT_FILE} of run {tracker.run_id}")
        rows = read_again(store, snapshot, data, also=also)
    except (CorruptFeatures, UnknownFeatureGroup) as error:
        on_notice(
            f"the rows of the earlier attempts cannot be read any more, those there are now are learnt from: "
            f"{error}"
        )
        return read_rows(store, data, also=also)
    on_notice(f"the rows are those of the earlier attempts, {snapshot.id}")
    return rows


def tell_snapshot(snapshot: Snapshot, processes: Processes) -> None:
    """Tell the other processes of a training, from the first one, which rows to read."""
    processes.broadcast(snapshot.to_json().encode())


def told_snapshot(processes: Processes) -> Snapshot:
    """Wait, in any process but the first, until that one tells which rows to read.

    Raises:
        PeerLostError: it ended, or does not answer, within the block that joined them.
    """
    return Snapshot.from_json(processes.broadcast(b""), where="what the first process tells")


def record_snapshot(snapshot: Snapshot, store: FeatureStore, tracker: MlflowTracker) -> str | None:
    """Have the feature store keep what a training learns from, and the active run tell of it.

    A store that cannot be written, such as one on a read-only volume, is no reason not to train: the run
    holds the whole manifest in any case.

    Returns:
        Why the store does not keep the snapshot; None where it does.
    """
    problem = None
    try:
        store.publish_snapshot(snapshot)
    except (FeatureStoreUnavailable, CorruptFeatures) as error:
        problem = str(error)
    tags = {FEATURE_SNAPSHOT_TAG: snapshot.id}
    if problem or tracker.attempt > 1:
        tags[FEATURE_SNAPSHOT_PROBLEM_TAG] = (problem or "")[:MAX_PROBLEM_LENGTH]
    tracker.set_tags(tags)
    tracker.log_dict(snapshot.to_dict(), SNAPSHOT_FILE)
    for group in snapshot.groups:
        source = {"store": store.uri, "featureGroup": group.group, "snapshot": snapshot.id}
        tracker.log_dataset(group.group, snapshot.id, source)
    return problem


def _days_before_the_end(store: FeatureStore, data: TrainingData, days: int) -> datetime | None:
    """Where the last days begin; None where there is no row up to the end."""
    times = store.read_offline_features(data.feature_group, end_date=data.end_date, columns=[])
    time_column = store.get_feature_group(data.feature_group).time_column
    if times.empty:
        return None
    newest: pd.Timestamp = times[time_column].max()
    return newest.to_pydatetime() - timedelta(days=days)


def _rows(snapshot: Snapshot, data: TrainingData, frame: pd.DataFrame) -> TrainingRows:
    group = snapshot.of_group(data.feature_group)
    return TrainingRows(frame, RowKeys(time=group.time_column, entity=group.entity_column), snapshot)


def _columns(data: TrainingData, also: Collection[str], known: Collection[str]) -> Sequence[str] | None:
    if data.features is None:
        return None
    wanted = [*data.features, data.label]
    # Of unknown names the checks tell more when they see every column.
    if not set(wanted) <= set(known):
        return None
    return [*wanted, *(name for name in also if name in known and name not in wanted)]
