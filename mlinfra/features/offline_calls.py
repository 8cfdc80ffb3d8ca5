"""What a feature store does with the offline history of a group, but for writing it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

import pandas as pd
import pyarrow as pa

from mlinfra.features.frame_kinds import FrameKind, as_frame, check_kind
from mlinfra.features.offline import OfflineStore
from mlinfra.features.timerange import Moment

if TYPE_CHECKING:
    import polars


class OfflineCalls:
    """The calls of a `FeatureStore` that read offline history and keep it in order."""

    _offline: OfflineStore

    @overload
    def read_offline_features(
        self,
        feature_group: str,
        start_date: Moment | None = None,
        end_date: Moment | None = None,
        columns: Sequence[str] | None = None,
        *,
        as_: Literal["pandas"] = "pandas",
    ) -> pd.DataFrame: ...

    @overload
    def read_offline_features(
        self,
        feature_group: str,
        start_date: Moment | None = None,
        end_date: Moment | None = None,
        columns: Sequence[str] | None = None,
        *,
        as_: Literal["arrow"],
    ) -> pa.Table: ...

    @overload
    def read_offline_features(
        self,
        feature_group: str,
        start_date: Moment | None = None,
        end_date: Moment | None = None,
        columns: Sequence[str] | None = None,
        *,
        as_: Literal["polars"],
    ) -> "polars.DataFrame": ...

    def read_offline_features(
        self,
        feature_group: str,
        start_date: Moment | None = None,
        end_date: Moment | None = None,
        columns: Sequence[str] | None = None,
        *,
        as_: FrameKind = "pandas",
    ) -> Any:
        """Rows of a group between two dates, both included, sorted by event time and entity.

        Args:
            feature_group: name of the group.
            start_date: first date (YYYY-MM-DD, in UTC) or moment; from the beginning by default.
            end_date: last date, the whole of it, or moment; to the end by default.
            columns: the features to read, all by default; entity and event time always come first.
                ``created_timestamp`` comes only if asked for.
            as_: the kind of frame: ``pandas`` for a DataFrame, ``arrow`` for a pyarrow Table, ``polars``
                for a Polars DataFrame. pandas copies what Arrow reads; the others do not.

        Returns:
            One row for each entity and event time. No rows in the range make an empty frame.

        Raises:
            UnknownFeatureGroup, UnknownFeature: the message names those there are.
            InvalidDateRange: a date cannot be read, or the start is after the end.
            InvalidFeatures: there is no such kind of frame, or Polars is not installed.
            CorruptFeatures: a file is missing or damaged; the message names it.
        """
        check_kind(as_)
        table = self._offline.read_table(feature_group, start=start_date, end=end_date, columns=columns)
        return as_frame(table, as_)
