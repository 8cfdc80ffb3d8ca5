"""Reads the rows of a training from the feature store."""

from collections.abc import Collection

import pandas as pd

from mlinfra.features import FeatureStore
from mlinfra.resources.built_in_training import TrainingData
from mlinfra.training.errors import EmptyDateRangeError
from mlinfra.training.rows import RowKeys


def read_rows(
    store: FeatureStore, data: TrainingData, *, also: Collection[str] = ()
) -> tuple[pd.DataFrame, RowKeys]:
    """The rows of a feature group between its dates, and which columns are their keys.

    Args:
        store: where the group is.
        data: group, dates, features and label.
        also: further columns to read, where the group has them.

    Raises:
        UnknownFeatureGroup: nothing was written under this name.
        EmptyDateRangeError: no row lies between the dates; the message tells which dates there are.
        CorruptFeatures: a file is missing or damaged.
    """
    group = store.get_feature_group(data.feature_group)
    keys = RowKeys(time=group.time_column, entity=group.entity_column)
    wanted = [*data.features, data.label] if data.features is not None else None
    # Of unknown names the checks tell more when they see every column.
    columns = None
    if wanted is not None and set(wanted) <= set(group.features):
        columns = [*wanted, *(name for name in also if name in group.features and name not in wanted)]
    frame = store.read_offline_features(
        data.feature_group, start_date=data.start_date, end_date=data.end_date, columns=columns
    )
    if frame.empty:
        times = store.read_offline_features(data.feature_group, columns=[])[keys.time]
        there_is = f"It has {times.min():%Y-%m-%d} to {times.max():%Y-%m-%d}" if len(times) else "It is empty"
        raise EmptyDateRangeError(
            f'Feature group "{data.feature_group}" has no rows between {data.start_date or "its beginning"} '
            f"and {data.end_date or 'its end'}. {there_is}."
        )
    return frame, keys
