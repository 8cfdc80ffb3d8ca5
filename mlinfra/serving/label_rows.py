"""Labels that others write to a feature group: by the prediction's ID, or by entity and event time."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from mlinfra.features import FeatureStore, UnknownFeature, UnknownFeatureGroup
from mlinfra.serving.log_rows import ID_COLUMN, REPLICA_COLUMN

if TYPE_CHECKING:
    from mlinfra.features.commits import CommitMark

LabelKey = str | tuple[str, int]
"""ID of a prediction; or its entity, and its event time in microseconds since 1970 in UTC."""


class LabelRows:
    """The labels of one group, as they come.

    Args:
        store: where the group is; it need not be there yet.
        group: its name. Where its entity is ``prediction_id`` a row is of that prediction, and otherwise of
            all predictions of its entity and event time.
        column: with the labels; a row in which it is null has none yet.
    """

    def __init__(self, store: FeatureStore, group: str, column: str) -> None:
        self._store = store
        self._group = group
        self._column = column
        self._mark: CommitMark | None = None

    def new(self) -> Iterator[tuple[LabelKey, Any]]:
        """Labels that were written since the last time, of those with the same key the newest.

        Raises:
            UnknownFeature: the group has no such column.
            CorruptFeatures, FeatureStoreUnavailable: they cannot be read.
        """
        try:
            files, mark = self._store.offline_files_since(self._group, self._mark)
        except UnknownFeatureGroup:
            return
        if mark == self._mark:
            return
        group = files.group
        if self._column not in group.columns:
            raise UnknownFeature(
                f"feature group {self._group!r} has no column {self._column!r} to take labels from"
            )
        columns = [group.entity_column, group.time_column, self._column]
        kept = [REPLICA_COLUMN] if REPLICA_COLUMN in group.columns else []
        table = files.read([*columns, *kept])
        if kept:
            # A server kept these, and counted them.
            table = table.filter(pc.is_null(table.column(REPLICA_COLUMN)))
        for key, label in zip(
            _keys(table, group.entity_column, group.time_column),
            table.column(self._column).to_pylist(),
            strict=True,
        ):
            if label is not None and not (isinstance(label, float) and math.isnan(label)):
                yield key, label
        self._mark = mark


def _keys(table: pa.Table, entity: str, time: str) -> Iterator[LabelKey]:
    entities = table.column(entity).cast(pa.string()).to_pylist()
    if entity == ID_COLUMN:
        yield from entities
        return
    times = table.column(time).cast(pa.timestamp("us", "UTC"), safe=False).cast(pa.int64()).to_pylist()
    yield from zip(entities, times, strict=True)
