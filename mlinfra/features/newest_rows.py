"""The newest rows of each entity in memory: what a model reads that looks back over several rows.

The online store keeps one row an entity. A model with a window needs the rows before it as well, and those
are in the offline store: they are read once, and then whatever was written since.
"""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from mlinfra.errors import suggestion
from mlinfra.features.commits import CommitMark
from mlinfra.features.errors import FeatureConflict, FeatureStoreUnavailable, UnknownFeature
from mlinfra.features.group import CREATED_COLUMN, FeatureGroup
from mlinfra.features.offline import OfflineStore
from mlinfra.features.timerange import NANOSECONDS

KEYS = ["entity", "event"]
ROWS_HELD = 500_000
"""Rows in memory before those that are not among the newest are dropped."""
MAX_ROWS = 5_000_000


@dataclass(frozen=True, slots=True)
class EntityRows:
    """Rows of one entity, oldest first.

    Attributes:
        events: event times, nanoseconds since 1970 in UTC, (rows,).
        values: (rows, features); NaN is null.
    """

    events: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]


class NewestRows:
    """The newest rows of each entity of one group; `of` may be called while `refresh` runs in another thread.

    Args:
        offline: where the group is.
        name: of the group.
        features: columns to keep, in this order; numbers.
        rows: how many of each entity.
        max_rows: of all entities together.
    """

    def __init__(
        self,
        offline: OfflineStore,
        name: str,
        features: Sequence[str],
        *,
        rows: int,
        max_rows: int = MAX_ROWS,
    ) -> None:
        self._offline = offline
        self._name = name
        self._features = list(features)
        self._rows = rows
        self._max_rows = max_rows
        self._mark: CommitMark | None = None
        self._frame = self._empty()
        self._found: Mapping[Any, EntityRows] = {}
        self._lock = threading.Lock()

    def refresh(self) -> bool:
        """Read what was written since the last time; whether that was anything.

        Raises:
            UnknownFeatureGroup, UnknownFeature: the message names those there are.
            FeatureConflict: a feature is not of numbers.
            FeatureStoreUnavailable: the storage does not answer, or there are more rows than ``max_rows``.
            CorruptFeatures: a file is missing or damaged.
        """
        with self._lock:
            files, newest = self._offline.files_since(self._name, self._mark)
            if newest == self._mark:
                return False
            self._check(files.group)
            group = files.group
            held = [self._frame]
            for _, batch in files.batches(
                [group.entity_column, group.time_column, CREATED_COLUMN, *self._features]
            ):
                held.append(self._read(batch, group))
                if sum(map(len, held)) > ROWS_HELD + len(held[0]):
                    held = [self._newest(held)]
            self._frame = self._newest(held)
            self._found = self._by_entity()
            self._mark = newest
            return True

    def of(self, entity: Any) -> EntityRows | None:
        """The newest rows of an entity; None where there are none."""
        return self._found.get(entity)

    def __len__(self) -> int:
        return len(self._found)

    def _read(self, batch: pa.RecordBatch, group: FeatureGroup) -> pd.DataFrame:
        unit = NANOSECONDS[group.time_type.unit]
        created = batch.column(CREATED_COLUMN).cast(pa.int64())
        columns: dict[str, Any] = {
            "entity": batch.column(group.entity_column).to_pandas(),
            "event": batch.column(group.time_column).cast(pa.int64()).to_numpy(zero_copy_only=False) * unit,
            "created": created.to_numpy(zero_copy_only=False),
        }
        columns |= {
            str(place): batch.column(name).cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
            for place, name in enumerate(self._features)
        }
        return pd.DataFrame(columns)

    def _newest(self, frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
        """The newest rows of each entity; of one event time, the row created last."""
        given = [each for each in frames if len(each)]
        if not given:
            return self._empty()
        frame = pd.concat(given, ignore_index=True).dropna(subset=["entity"])
        frame = frame.sort_values([*KEYS, "created"], kind="stable").drop_duplicates(KEYS, keep="last")
        frame = frame.groupby("entity", sort=False).tail(self._rows).reset_index(drop=True)
        if len(frame) > self._max_rows:
            raise FeatureStoreUnavailable(
                f"the newest {self._rows} rows of each entity of feature group {self._name!r} are "
                f"{len(frame)} in all, more than the {self._max_rows} that are kept in memory"
            )
        return frame

    def _by_entity(self) -> Mapping[Any, EntityRows]:
        events = self._frame["event"].to_numpy(np.int64)
        values = self._frame[[str(place) for place in range(len(self._features))]].to_numpy(np.float64)
        entities = self._frame["entity"].to_numpy(dtype=object)
        starts = np.flatnonzero(np.r_[True, entities[1:] != entities[:-1]]) if len(entities) else np.array([])
        ends = np.r_[starts[1:], len(entities)] if len(entities) else np.array([])
        return {
            entities[start]: EntityRows(events[start:end], values[start:end])
            for start, end in zip(starts.tolist(), ends.tolist(), strict=True)
        }

    def _empty(self) -> pd.DataFrame:
        return pd.DataFrame({name: [] for name in (*KEYS, "created", *map(str, range(len(self._features))))})

    def _check(self, group: FeatureGroup) -> None:
        for name in self._features:
            if name not in group.features:
                known = suggestion(name, group.features)
                raise UnknownFeature(f"feature group {group.name!r} has no feature {name!r}: {known}")
            kind = group.schema.field(name).type
            if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
                raise FeatureConflict(f"feature {name!r} of group {group.name!r} is {kind}, no number")
