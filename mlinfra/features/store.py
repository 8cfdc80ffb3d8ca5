"""The feature store: one folder, the same features for training and serving."""

import os
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pandas as pd

from mlinfra.features.errors import FeatureStoreUnavailable
from mlinfra.features.group import FeatureGroup, PartitionBy
from mlinfra.features.metadata import FeatureMetadata, FeatureRegistry
from mlinfra.features.offline import OfflineStore
from mlinfra.features.timerange import Moment
from mlinfra.resources.names import FEATURE_STORE_URI_ENV

DEFAULT_ROOT = Path("data") / "feature_store"


class FeatureStore:
    """Definitions and offline history of features under one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._registry = FeatureRegistry(root / "metadata" / "features")
        self._offline = OfflineStore(root / "offline")

    def register_feature(self, metadata: FeatureMetadata) -> None:
        """Store a definition for good; the same one again changes nothing.

        Raises:
            FeatureConflict: this version is registered with another content.
        """
        self._registry.register(metadata)

    def list_features(self) -> list[FeatureMetadata]:
        """Every version of every feature, by name and then from the oldest version to the newest."""
        return self._registry.all()

    def get_feature(self, name: str, version: str | None = None) -> FeatureMetadata:
        """One definition, its newest version by default.

        Raises:
            UnknownFeature: there is no such feature or version; the message names those there are.
        """
        return self._registry.get(name, version)

    def list_feature_groups(self) -> list[str]:
        """Names of the groups in the offline store."""
        return self._offline.groups()

    def get_feature_group(self, name: str) -> FeatureGroup:
        """Entity column, time column, partitions and schema of a group.

        Raises:
            UnknownFeatureGroup: nothing was written under this name; the message names the groups there are.
        """
        return self._offline.group(name)

    def write_offline_features(
        self,
        feature_group: str,
        df: pd.DataFrame,
        *,
        entity_column: str | None = None,
        partition_by: PartitionBy | None = None,
    ) -> int:
        """Append rows to a group, all of them or none; readers never see a part, writers take turns.

        Of rows with the same entity and event time, readers get the one created last, so writing the
        same rows again changes nothing for them.

        Args:
            feature_group: name of the group; its first write creates it.
            df: one row for each entity and event time. The event time is the column ``event_timestamp``,
                else ``timestamp``, else the index; with a time zone it is stored in UTC, without one it
                counts as UTC. ``created_timestamp``, if there, says when a row was known. NaN is null.
            entity_column: the entity's key, texts or integers; needed in the first write unless exactly
                one column holds text.
            partition_by: period of one ``date=`` folder, in the first write only; by default the finest
                with a thousand rows a folder on average (see `mlinfra.features.partitions`).

        Returns:
            The number of rows written.

        Raises:
            InvalidFeatures: rows that cannot be stored; the message names the column.
            FeatureConflict: a column is missing or has another type than in the group.
            FeatureStoreUnavailable: the disk is full or did not answer; nothing was written.
        """
        return self._offline.write(feature_group, df, entity_column=entity_column, partition_by=partition_by)

    def read_offline_features(
        self,
        feature_group: str,
        start_date: Moment | None = None,
        end_date: Moment | None = None,
        columns: Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """Rows of a group between two dates, both included, sorted by event time and entity.

        Args:
            feature_group: name of the group.
            start_date: first date (YYYY-MM-DD, in UTC) or moment; from the beginning by default.
            end_date: last date, the whole of it, or moment; to the end by default.
            columns: the features to read, all by default; entity and event time always come first.
                ``created_timestamp`` comes only if asked for.

        Returns:
            One row for each entity and event time. No rows in the range make an empty frame.

        Raises:
            UnknownFeatureGroup, UnknownFeature: the message names those there are.
            InvalidDateRange: a date cannot be read, or the start is after the end.
            CorruptFeatures: a file is missing or damaged; the message names it.
        """
        return self._offline.read(feature_group, start=start_date, end=end_date, columns=columns)


def get_feature_store(root: str | Path | None = None) -> FeatureStore:
    """The feature store at a folder or ``file://`` URI.

    Args:
        root: by default the environment variable ``MLINFRA_FEATURE_STORE_URI``, else ``data/feature_store``.

    Raises:
        FeatureStoreUnavailable: the URI is of a kind that is not supported.
    """
    location = root or os.environ.get(FEATURE_STORE_URI_ENV) or DEFAULT_ROOT
    return FeatureStore(location if isinstance(location, Path) else _path_of(location))


def _path_of(location: str) -> Path:
    if "://" not in location:
        return Path(location)
    uri = urlsplit(location)
    if uri.scheme != "file" or uri.netloc not in ("", "localhost"):
        raise FeatureStoreUnavailable(
            f"feature store {location!r}: only folders and file:///absolute/path are supported"
        )
    return Path(url2pathname(uri.path))
