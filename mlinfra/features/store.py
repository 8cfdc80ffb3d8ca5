"""The feature store: one folder, the same features for training and serving."""

import os
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pandas as pd
from pyarrow.fs import FileSystem

from mlinfra.features.asof import JoinSettings
from mlinfra.features.catalogue import FeatureDescription, delete_definition, describe
from mlinfra.features.checked_rows import CheckedRows
from mlinfra.features.entity_rows import Frame
from mlinfra.features.errors import FeatureStoreUnavailable
from mlinfra.features.expectations import Policy
from mlinfra.features.frame import Rows
from mlinfra.features.group import FeatureGroup, PartitionBy
from mlinfra.features.lineage import Lineage
from mlinfra.features.local_storage import LocalStorage
from mlinfra.features.manifest import Snapshot
from mlinfra.features.metadata import FeatureChange, FeatureMetadata, changes
from mlinfra.features.offline import OfflineStore
from mlinfra.features.offline_calls import OfflineCalls
from mlinfra.features.online.calls import OnlineCalls
from mlinfra.features.online.location import ONLINE_STORE_URI_ENV
from mlinfra.features.online.store import Clock
from mlinfra.features.point_in_time import Ttl, training_features
from mlinfra.features.registry import FeatureRegistry
from mlinfra.features.reports import CheckReport, OnReport, warn_of_violations
from mlinfra.features.snapshot_calls import SnapshotCalls
from mlinfra.features.snapshots import Snapshots
from mlinfra.features.storage import Storage, open_storage
from mlinfra.features.timerange import Moment
from mlinfra.resources.names import FEATURE_STORE_URI_ENV

DEFAULT_ROOT = Path("data") / "feature_store"


class FeatureStore(OfflineCalls, OnlineCalls, SnapshotCalls):
    """Definitions, offline history and online rows of features under one folder.

    Args:
        root: as of `get_feature_store`.
        online: place of the online rows, a folder or ``redis://host:port/database``; by default the
            environment variable ``MLINFRA_ONLINE_STORE_URI``, else the folder ``online`` in the root.
        clock: now in nanoseconds since 1970 in UTC.

    Attributes:
        storage: the folder, wherever it is kept.
        uri: the folder's path or URI, without credentials.
    """

    def __init__(
        self, root: str | Path | Storage, *, online: str | Path | None = None, clock: Clock = time.time_ns
    ) -> None:
        self.storage = open_storage(root)
        self.uri = self.storage.where()
        local = self.root / "online" if isinstance(self.storage, LocalStorage) else None
        super().__init__(online or os.environ.get(ONLINE_STORE_URI_ENV) or local, clock)
        self._registry = FeatureRegistry(self.storage.at("metadata/features"))
        self._offline = OfflineStore(self.storage.at("offline"))
        self._snapshots = Snapshots(self.storage.at("metadata/snapshots"), self._offline)
        quarantine = OfflineStore(self.storage.at("quarantine"))
        self._checked = CheckedRows(self._offline, quarantine, self._registry)

    @property
    def root(self) -> Path:
        """The folder, where it is one of this machine.

        Raises:
            FeatureStoreUnavailable: it is elsewhere.
        """
        if not isinstance(self.storage, LocalStorage):
            raise FeatureStoreUnavailable(f"feature store {self.uri} is not a folder of this machine")
        return self.storage.folder

    def register_feature(self, metadata: FeatureMetadata) -> None:
        """Store a definition for good; the same one again changes nothing.

        Raises:
            FeatureConflict: this version is registered, or was once, with another content.
            MissingDependency: a feature that it depends on is not registered, or not in this version.
            CyclicDependency: it would depend on itself; the message names the cycle.
            InvalidDefinition: a dependency is written wrongly; see `mlinfra.features.dependencies`.
        """
        self._registry.register(metadata)

    def register_features(self, definitions: Sequence[FeatureMetadata]) -> None:
        """Store several definitions at once, which may depend on one another: all, or none if one is refused.

        Raises:
            as of `register_feature`.
        """
        self._registry.register(*definitions)

    def delete_feature(self, name: str, version: str) -> None:
        """Remove a definition that nothing needs; its version can only come back with the same content.

        Raises:
            UnknownFeature: there is no such feature or version.
            FeatureInUse: another definition depends on it, or a feature group has a column of this name
                and this is its last definition. The message lists them.
        """
        delete_definition(self._registry, self._offline, name, version)

    def list_features(self) -> list[FeatureMetadata]:
        """Every version of every feature, by name and then from the oldest version to the newest."""
        return self._registry.all()

    def get_feature(self, name: str, version: str | None = None) -> FeatureMetadata:
        """One definition, its newest version by default.

        Raises:
            UnknownFeature: there is no such feature or version; the message names those there are.
        """
        return self._registry.record(name, version).feature

    def describe_feature(self, name: str, version: str | None = None) -> FeatureDescription:
        """One definition as `get_feature` gives it, with when it was registered and where it is used."""
        return describe(self._registry, self._offline, name, version)

    def diff_features(self, name: str, before: str, after: str) -> tuple[FeatureChange, ...]:
        """The fields in which two versions of a feature differ; raises `UnknownFeature`."""
        return changes(self.get_feature(name, before), self.get_feature(name, after))

    def feature_lineage(self, name: str, version: str | None = None) -> Lineage:
        """What a feature is computed from and what is computed from it, as a tree, DOT or Mermaid.

        Raises:
            UnknownFeature: there is no such feature or version.
        """
        return self._registry.lineage(name, version)

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
        df: Rows,
        *,
        entity_column: str | None = None,
        partition_by: PartitionBy | None = None,
        on_violation: Policy | None = None,
        on_report: OnReport = warn_of_violations,
    ) -> int:
        """Append rows to a group, all of them or none; readers never see a part, writers take turns.

        Of rows with the same entity and event time, readers get the one created last, so writing the
        same rows again changes nothing for them.

        Args:
            feature_group: name of the group; its first write creates it.
            df: one row for each entity and event time, as a pandas or Polars DataFrame, or a pyarrow Table or
                RecordBatchReader. The event time is the column ``event_timestamp``,
                else ``timestamp``, else the index; with a time zone it is stored in UTC, without one it
                counts as UTC. ``created_timestamp``, if there, says when a row was known. NaN is null.
            entity_column: the entity's key, texts or integers; needed in the first write unless exactly
                one column holds text.
            partition_by: period of one ``date=`` folder, in the first write only; by default the finest
                with a thousand rows a folder on average (see `mlinfra.features.partitions`).
            on_violation: what becomes of rows that break an expectation: ``reject``, ``quarantine`` or
                ``warn``; by default what each feature's definition says. A column belongs to the feature of
                its name, in its newest version.
            on_report: called once after the write with what became of the rows; by default an
                `ExpectationWarning` tells of broken expectations.

        Returns:
            The number of rows written, those in quarantine left out.

        Raises:
            InvalidFeatures: rows that cannot be stored; the message names the column.
            FeatureConflict: a column is missing or has another type than in the group.
            ExpectationFailed: rows break an expectation, and are to be rejected; nothing was written.
            FeatureStoreUnavailable: the disk is full or did not answer; nothing was written.
        """
        return self._checked.write(
            feature_group,
            df,
            entity_column=entity_column,
            partition_by=partition_by,
            policy=on_violation,
            on_report=on_report,
        )

    def check_features(
        self,
        feature_group: str,
        start_date: Moment | None = None,
        end_date: Moment | None = None,
        features: Sequence[str] | None = None,
    ) -> CheckReport:
        """Check stored rows against the expectations of their features, as these are now; nothing is changed.

        Args:
            feature_group: name of the group.
            start_date, end_date: as of `read_offline_features`.
            features: the features to check; by default all that have expectations.

        Raises:
            UnknownFeatureGroup, UnknownFeature: the message names those there are.
            FeatureConflict: a rule does not fit its column's type.
        """
        return self._checked.check(feature_group, start=start_date, end=end_date, features=features)

    def read_quarantined_features(
        self,
        feature_group: str,
        start_date: Moment | None = None,
        end_date: Moment | None = None,
    ) -> pd.DataFrame:
        """Rows that writes set aside, as `read_offline_features` gives rows, with ``quarantine_reason``."""
        return self._checked.read_quarantined(feature_group, start=start_date, end=end_date)

    def get_training_features(
        self,
        entity_rows: Frame,
        features: Sequence[str],
        *,
        ttl: Ttl = None,
        known_at: Moment | None = None,
        snapshot: str | Snapshot | None = None,
        time_column: str | None = None,
        full_feature_names: bool = False,
        settings: JoinSettings | None = None,
    ) -> Frame:
        """Features as of the time of each row: the newest of its entity that is not later.

        Args:
            entity_rows: a pandas DataFrame, pyarrow Table or Polars DataFrame with the key column of each
                group, the time of each row, and whatever else, such as labels. Rows may repeat and come in
                any order. A row without a key gets nulls; one without a time is refused.
            features: as ``"group:feature"``, or ``"group"`` for all features of a group.
            ttl: the oldest that a feature may be: exactly as old still counts. One for all groups, or one
                for each by name; any age by default.
            known_at: only rows created by then count, a date or moment in UTC; all by default.
            snapshot: take the features from this snapshot's rows, whatever was written since.
            time_column: the time of each row; by default ``event_timestamp``, else ``timestamp``, else
                pandas' index. Without a time zone it counts as UTC.
            full_feature_names: name the features ``group__feature`` instead of ``feature``.
            settings: memory and temporary folder of the join.

        Returns:
            The same kind of frame: the given columns and then the features in the order they were asked
            for. Rows, their order and index stay. A feature that is missing or older than the ttl is null.

        Raises:
            UnknownFeatureGroup, UnknownFeature, UnknownSnapshot: the message names those there are.
            InvalidFeatures: entity_rows lacks a key or time column, or a row has no time.
            FeatureConflict: keys of another type than in the group, or two columns of one name.
            CorruptFeatures: a file is missing or damaged; the message names it.
            FeatureStoreUnavailable: memory or disk do not suffice.
        """
        files_of = self._offline.files_of
        if snapshot is not None:
            found = self.get_snapshot(snapshot) if isinstance(snapshot, str) else snapshot
            files_of = partial(self._snapshots.files_of, found, verify=True)
        return training_features(
            files_of,
            entity_rows,
            features,
            ttl=ttl,
            known_at=known_at,
            time_column=time_column,
            full_feature_names=full_feature_names,
            settings=settings or JoinSettings(),
        )


def get_feature_store(
    root: str | Path | Storage | None = None,
    *,
    filesystem: FileSystem | None = None,
    online: str | Path | None = None,
) -> FeatureStore:
    """The feature store at a folder or URI.

    Args:
        root: a folder, ``file:///path``, ``s3://bucket/path`` (see `mlinfra.features.storage.open_storage`
            for credentials and other servers), or another URI that pyarrow knows; by default the environment
            variable ``MLINFRA_FEATURE_STORE_URI``, else ``data/feature_store``.
        filesystem: a pyarrow file system in which ``root`` is a path.
        online: place of the online rows; see `FeatureStore`.

    Raises:
        FeatureStoreUnavailable: the URI is of a kind that is not supported.
    """
    location = root or os.environ.get(FEATURE_STORE_URI_ENV) or DEFAULT_ROOT
    return FeatureStore(open_storage(location, filesystem), online=online)
