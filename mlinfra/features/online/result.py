"""What a read of the online store gives: values, what is known of each, and how old they are."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from mlinfra.features.online.backend import Key
from mlinfra.features.online.decode import Block
from mlinfra.features.online.status import FeatureStatus
from mlinfra.features.parquet_files import to_pandas
from mlinfra.features.schema import TYPES_BY_NAME

MOMENT = np.dtype("M8[ns]")
FloatType = type[np.float64] | type[np.float32]


class OnlineFeatures:
    """Features of some entities, in the order of the keys and features that were asked for.

    Attributes:
        keys: the entities.
        features: the features.
        values: shape (entities, features); NaN unless the status is `FeatureStatus.PRESENT`. Booleans are
            0 and 1, integers beyond 2**53 rounded, texts and times NaN: `to_pandas` gives those.
        status: `FeatureStatus` of each value as uint8, shape (entities, features).
    """

    __slots__ = ("_block", "_types", "features", "keys", "status", "values")

    def __init__(
        self,
        keys: Sequence[Key],
        features: tuple[str, ...],
        types: tuple[str, ...],
        block: Block,
        dtype: FloatType,
    ) -> None:
        self.keys = keys
        self.features = features
        self.values: npt.NDArray[np.floating] = (
            block.values if dtype is np.float64 else block.values.astype(dtype)
        )
        self.status = block.status
        self._types = types
        self._block = block

    @property
    def event_timestamps(self) -> npt.NDArray[np.datetime64]:
        """Event time of each entity's row in UTC, datetime64[ns], shape (entities,).

        NaT where there is no row; an expired one keeps its own.
        """
        return self._block.events.view(MOMENT)

    def __len__(self) -> int:
        return len(self.keys)

    def to_arrow(self) -> pa.Table:
        """One row an entity: each feature in its own type, null unless it is present."""
        columns = [self._column(place) for place in range(len(self.features))]
        return pa.table(columns, names=list(self.features))

    def to_pandas(self) -> pd.DataFrame:
        """One row an entity, indexed by key: each feature in its own type, null unless it is present."""
        frame = to_pandas(self.to_arrow())
        frame.index = pd.Index(list(self.keys), name="entity")
        return frame

    def _column(self, place: int) -> pa.Array:
        kind = TYPES_BY_NAME[self._types[place]]
        present = self.status[:, place] == FeatureStatus.PRESENT
        numbers = self._block.values[:, place]
        if pa.types.is_floating(kind):
            return pa.array(numbers, pa.float64(), mask=~present).cast(kind, safe=False)
        exact = self._block.exact or [{}] * len(self)
        values: list[Any] = [
            (each[place] if place in each else int(value)) if there else None
            for each, value, there in zip(exact, numbers.tolist(), present.tolist(), strict=True)
        ]
        return (
            pa.array(values, pa.int64()).cast(kind) if pa.types.is_boolean(kind) else pa.array(values, kind)
        )

    def __repr__(self) -> str:
        counts = {each.name.lower(): int((self.status == each).sum()) for each in FeatureStatus}
        told = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        return f"OnlineFeatures({len(self)} entities x {len(self.features)} features: {told})"
