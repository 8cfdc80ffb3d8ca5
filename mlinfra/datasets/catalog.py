"""The example data sets by name, and how they get into a feature store."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import ClassVar

import pandas as pd

from mlinfra.datasets.daily_features import FEATURES, LABEL, LABEL_DEFINITION
from mlinfra.datasets.indices import ENTITY_COLUMN, TIME_COLUMN, nasdaq_daily, sp500_daily
from mlinfra.errors import InvalidInputError, suggestion
from mlinfra.features import FeatureStore


class UnknownDataset(InvalidInputError):
    """There is no example data of that name."""

    reason: ClassVar[str] = "UnknownDataset"


@dataclass(frozen=True, slots=True)
class Dataset:
    """Example data that can be written to a feature store.

    Attributes:
        name: what people call it by.
        feature_group: the group it is written to.
        label: the column to predict.
        description: what it is, in a line.
        load: makes the frame; see `mlinfra.datasets.indices.with_features`.
    """

    name: str
    feature_group: str
    label: str
    description: str
    load: Callable[[], pd.DataFrame]


@dataclass(frozen=True, slots=True)
class WrittenDataset:
    """What `write_dataset` left in the store.

    Attributes:
        feature_group: the group that holds it.
        rows: number of rows.
        first_date, last_date: dates of the first and the last row, in UTC.
        changed: False where the store held the very same rows already.
    """

    feature_group: str
    rows: int
    first_date: date
    last_date: date
    changed: bool


DATASETS = (
    Dataset("sp500", "sp500_daily", LABEL, "S&P 500, one row a trading day, 1999 to 2018", sp500_daily),
    Dataset(
        "nasdaq", "nasdaq_daily", LABEL, "NASDAQ Composite, one row a trading day, 1999 to 2018", nasdaq_daily
    ),
)


def find_dataset(name: str) -> Dataset:
    """The data set of that name; raises `UnknownDataset`, which names those there are."""
    for dataset in DATASETS:
        if dataset.name == name:
            return dataset
    names = [dataset.name for dataset in DATASETS]
    raise UnknownDataset(f"no example data {name!r}; {suggestion(name, names)}")


def write_dataset(store: FeatureStore, name: str) -> WrittenDataset:
    """Register a data set's features and write its rows; what the store holds already is left alone.

    Raises:
        UnknownDataset: there is no data set of that name.
        FeatureConflict: the store has other definitions or columns under the same names.
    """
    dataset = find_dataset(name)
    store.register_features([*(each.definition for each in FEATURES), LABEL_DEFINITION])
    frame = dataset.load()
    changed = not _holds(store, dataset.feature_group, frame)
    if changed:
        store.write_offline_features(dataset.feature_group, frame, entity_column=ENTITY_COLUMN)
    return WrittenDataset(
        feature_group=dataset.feature_group,
        rows=len(frame),
        first_date=frame[TIME_COLUMN].iloc[0].date(),
        last_date=frame[TIME_COLUMN].iloc[-1].date(),
        changed=changed,
    )


def _holds(store: FeatureStore, feature_group: str, frame: pd.DataFrame) -> bool:
    if feature_group not in store.list_feature_groups():
        return False
    held = store.read_offline_features(feature_group)
    return set(held) == set(frame) and held[list(frame)].equals(frame)
