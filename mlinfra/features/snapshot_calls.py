"""What a feature store does with snapshots."""

from collections.abc import Mapping, Sequence

import pandas as pd

from mlinfra.features.manifest import Snapshot
from mlinfra.features.snapshots import Snapshots
from mlinfra.features.timerange import Moment


class SnapshotCalls:
    """The calls of a `FeatureStore` that keep rows and read them again."""

    _snapshots: Snapshots

    def create_snapshot(
        self,
        feature_groups: str | Sequence[str],
        name: str | None = None,
        *,
        start_date: Moment | None = None,
        end_date: Moment | None = None,
        columns: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
        known_at: Moment | None = None,
    ) -> Snapshot:
        """Keep which rows there are now, so that they can be read again, whatever is written later.

        Nothing is copied: the manifest names the files and their hashes, and vacuum leaves them alone until
        the snapshot is deleted. The same rows under the same name are the same snapshot.

        Args:
            feature_groups: one group or several.
            name: a name of one's own, which no other snapshot has.
            start_date, end_date, known_at: as of `read_offline_features` and `get_training_features`.
            columns: the features, all by default; of several groups a dictionary by group.

        Raises:
            UnknownFeatureGroup, UnknownFeature: the message names those there are.
            InvalidDateRange: a date cannot be read, or a group has no such rows.
            FeatureConflict: the name is another snapshot's.
            FeatureStoreUnavailable: the store cannot be written.
        """
        return self._snapshots.create(
            self.describe_snapshot(
                feature_groups,
                name,
                start_date=start_date,
                end_date=end_date,
                columns=columns,
                known_at=known_at,
            )
        )

    def describe_snapshot(
        self,
        feature_groups: str | Sequence[str],
        name: str | None = None,
        *,
        start_date: Moment | None = None,
        end_date: Moment | None = None,
        columns: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
        known_at: Moment | None = None,
    ) -> Snapshot:
        """What `create_snapshot` would keep, perhaps without rows: nothing is written."""
        return self._snapshots.describe(
            feature_groups, name, start=start_date, end=end_date, columns=columns, known_at=known_at
        )

    def publish_snapshot(self, snapshot: Snapshot) -> Snapshot:
        """Keep a snapshot that `describe_snapshot` gave or an MLflow run recorded; never overwrites one."""
        return self._snapshots.publish(snapshot)

    def read_snapshot(
        self,
        snapshot: str | Snapshot,
        feature_group: str | None = None,
        columns: Sequence[str] | None = None,
        *,
        verify: bool = True,
    ) -> pd.DataFrame:
        """The rows of a snapshot, the very same as when it was taken.

        Args:
            snapshot: ID or name, or the snapshot itself.
            feature_group: which of its groups; needed where it holds several.
            columns: some of its features; all by default.
            verify: compare the files' hashes first; without, only their sizes are.

        Raises:
            UnknownSnapshot: the message names those there are.
            UnknownFeatureGroup, UnknownFeature: the snapshot does not hold it.
            CorruptFeatures: a file is gone or was changed, or the manifest; the message names it.
        """
        found = self._snapshots.get(snapshot) if isinstance(snapshot, str) else snapshot
        return self._snapshots.read(found, feature_group, columns, verify=verify)

    def list_snapshots(self) -> list[Snapshot]:
        """Every snapshot, the oldest first."""
        return self._snapshots.all()

    def get_snapshot(self, snapshot: str) -> Snapshot:
        """A snapshot by ID or name; raises `UnknownSnapshot`."""
        return self._snapshots.get(snapshot)

    def delete_snapshot(self, snapshot: str) -> None:
        """Forget a snapshot, so that vacuum may remove files that no other names; the rows stay."""
        self._snapshots.delete(snapshot)

    def protected_files(self, feature_group: str) -> set[str]:
        """Files that snapshots name, by their place in the group's folder: vacuum keeps them.

        Raises:
            CorruptFeatures: a manifest cannot be read: then nobody can tell what it protects.
        """
        return self._snapshots.protected_files(feature_group)
