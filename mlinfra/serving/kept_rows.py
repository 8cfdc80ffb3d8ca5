"""Reads back what a replica logged: predictions and labels after a place in its own order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from mlinfra.features import FeatureStore, UnknownFeatureGroup
from mlinfra.features.files import storage_errors
from mlinfra.serving.log_rows import (
    LABEL_COLUMN,
    PREDICTION_COLUMN,
    REPLICA_COLUMN,
    SEQUENCE_COLUMN,
    TIME_COLUMN,
    VERSION_COLUMN,
    feature_column,
    output_columns,
    rows_with_features,
)

MICROSECONDS = 1000
SECOND = 1_000_000_000
CLOCKS_DIFFER = 3600 * SECOND
"""At most, of a server and of where the log is kept."""
MAX_ROWS = 1_000_000
"""Of one reading: the newest of all replicas and versions."""
PLACE_COLUMNS = (REPLICA_COLUMN, VERSION_COLUMN, SEQUENCE_COLUMN, TIME_COLUMN)


@dataclass(frozen=True, slots=True)
class LoggedRows:
    """Predictions, in the order in which they were made.

    Attributes:
        sequence, event_times: (rows,).
        features: (rows, features).
        outputs: (rows, outputs).
        known: which rows were logged with their features, (rows,).
    """

    sequence: NDArray[np.int64]
    event_times: NDArray[np.int64]
    features: NDArray[np.float32]
    outputs: NDArray[np.float32]
    known: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class LoggedLabels:
    """Labels, in the order in which they came; as `LoggedRows`."""

    sequence: NDArray[np.int64]
    event_times: NDArray[np.int64]
    outputs: NDArray[np.float32]
    labels: Sequence[Any]


class KeptRows:
    """The groups of one model.

    Args:
        store: where they are.
        predictions, labels: their names.
    """

    def __init__(self, store: FeatureStore, *, predictions: str, labels: str) -> None:
        self._store = store
        self._predictions = predictions
        self._labels = labels

    def rows(self, replica: str, version: str, features: Sequence[str], *, after: int) -> LoggedRows | None:
        """Predictions of a replica and version after a place; None where there are none.

        Raises:
            CorruptFeatures, FeatureStoreUnavailable: they cannot be read.
        """
        columns = [feature_column(name) for name in features]
        table = self._read(self._predictions, replica, version, after, columns)
        if table is None:
            return None
        return LoggedRows(
            _integers(table, SEQUENCE_COLUMN),
            _integers(table, TIME_COLUMN) * MICROSECONDS,
            np.column_stack([_numbers(table, name) for name in columns]),
            _outputs(table),
            rows_with_features(table, columns),
        )

    def labels(self, replica: str, version: str, *, after: int) -> LoggedLabels | None:
        """Labels that a replica kept for a version after a place; None where there are none.

        Raises:
            CorruptFeatures, FeatureStoreUnavailable: they cannot be read.
        """
        table = self._read(self._labels, replica, version, after, [LABEL_COLUMN])
        if table is None:
            return None
        return LoggedLabels(
            _integers(table, SEQUENCE_COLUMN),
            _integers(table, TIME_COLUMN) * MICROSECONDS,
            _outputs(table),
            table.column(LABEL_COLUMN).to_pylist(),
        )

    def _read(
        self, group: str, replica: str, version: str, after: int, columns: Sequence[str]
    ) -> pa.Table | None:
        held: list[pa.Table] = []
        for batch in self._batches(group, after, columns):
            mine = pc.and_(
                pc.equal(batch.column(REPLICA_COLUMN), replica),
                pc.and_(
                    pc.equal(batch.column(VERSION_COLUMN), version),
                    pc.greater(batch.column(SEQUENCE_COLUMN), after),
                ),
            )
            found = pa.Table.from_batches([batch]).filter(mine)
            if len(found):
                held.append(found)
        if not held:
            return None
        table = pa.concat_tables(held)
        # A row that was written twice, after an answer of the storage was lost, counts once.
        table = table.take(pc.sort_indices(table, [(SEQUENCE_COLUMN, "ascending")]))
        sequence = _integers(table, SEQUENCE_COLUMN)
        first = np.r_[True, sequence[1:] != sequence[:-1]]
        return table.filter(pa.array(first)).slice(max(0, int(first.sum()) - MAX_ROWS))

    def _batches(self, group: str, after: int, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Rows of the newest files that may have some after a place."""
        try:
            files, _ = self._store.offline_files_since(group, None)
        except UnknownFeatureGroup:
            return
        # A place is no earlier than its moment in nanoseconds, and its row is written after that.
        since = after - CLOCKS_DIFFER
        with storage_errors(self._store.uri):
            old = {
                each.name
                for each in files.storage.entries(recursive=True)
                if each.modified is not None and each.modified.timestamp() * SECOND < since
            }
        files = files.only([file.path not in old for file in files.files])
        if not after:
            # A replica or version that is new has no place yet: without a bound it would read the whole log.
            files = files.newest(MAX_ROWS)
        known = files.group.columns
        wanted = [*PLACE_COLUMNS, *(output_columns(known) or [PREDICTION_COLUMN]), *columns]
        # With its first row a version brings the columns that it reads.
        if set(wanted) <= set(known):
            for _, batch in files.batches(wanted):
                yield batch


def _integers(table: pa.Table, name: str) -> NDArray[np.int64]:
    values: NDArray[np.int64] = table.column(name).cast(pa.int64()).to_numpy()
    return values


def _numbers(table: pa.Table, name: str) -> NDArray[np.float32]:
    values: NDArray[np.float32] = table.column(name).cast(pa.float32(), safe=False).to_numpy()
    return values


def _outputs(table: pa.Table) -> NDArray[np.float32]:
    names = output_columns(table.column_names) or [PREDICTION_COLUMN]
    return np.column_stack([_numbers(table, name) for name in names])
