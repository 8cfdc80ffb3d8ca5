"""What a feature store does with the offline history of a group, but for writing it."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, overload

import pandas as pd
import pyarrow as pa

from mlinfra.features.commits import CommitMark
from mlinfra.features.compaction import CompactionReport
from mlinfra.features.frame_kinds import FrameKind, as_frame, check_kind
from mlinfra.features.group_files import GroupFiles
from mlinfra.features.newest_rows import NewestRows
from mlinfra.features.offline import OfflineStore
from mlinfra.features.retention import DropReport
from mlinfra.features.snapshots import Snapshots
from mlinfra.features.timerange import Moment
from mlinfra.features.vacuum import DEFAULT_GRACE, VacuumReport

if TYPE_CHECKING:
    import polars


class OfflineCalls:
    """The calls of a `FeatureStore` that read offline history and keep it in order."""

    _offline: OfflineStore
    _snapshots: Snapshots

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

    def follow_newest_rows(self, feature_group: str, features: Sequence[str], *, rows: int) -> NewestRows:
        """Keep the newest rows of each entity in memory, for a model that reads several.

            newest = store.follow_newest_rows("prices", ["close", "volume"], rows=20)
            newest.refresh()                       # reads what was written since the last time
            newest.of("BTCUSDT").values            # (20, 2), oldest first

        Args:
            feature_group: name of the group.
            features: columns to keep, in this order; numbers.
            rows: how many of each entity.
        """
        return NewestRows(self._offline, feature_group, features, rows=rows)

    def offline_files_since(
        self, feature_group: str, mark: CommitMark | None
    ) -> tuple[GroupFiles, CommitMark]:
        """Files of a group that were added after a commit, all without one, and the newest commit: what a
        reader follows a group with, who keeps the mark for the next time.

        Raises:
            UnknownFeatureGroup: the message names those there are.
        """
        return self._offline.files_since(feature_group, mark)

    def compact_offline_features(
        self,
        feature_group: str,
        *,
        min_files: int = 2,
        forget_before: Moment | None = None,
        written_before: datetime | None = None,
        max_rows: int | None = None,
    ) -> CompactionReport:
        """Merge the files of each partition into one, so that reads open fewer; readers notice nothing.

        Rows that newer ones supersede are kept for what was known at an earlier time, unless they are to be
        forgotten. The files merged stay on disk until a vacuum. What becomes one file is in memory.

        Args:
            feature_group: name of the group.
            min_files: fewer files are not merged, at least 2.
            forget_before: also drop rows that one created by then supersedes, a date or moment in UTC. What
                was known before that cannot be told afterwards; ``known_at`` of an earlier time is refused.
            written_before: files that were written then or later stay as they are, such as those that who
                follows the group has not read yet; all are merged by default.
            max_rows: a partition's files become several of up to so many rows; one by default.

        Raises:
            UnknownFeatureGroup: the message names those there are.
            InvalidDateRange: ``forget_before`` cannot be read.
            CorruptFeatures: a file is missing or damaged; the message names it, and nothing was changed.
            FeatureStoreUnavailable: the disk is full or did not answer; nothing was changed.
        """
        return self._offline.compact(
            feature_group,
            min_files=min_files,
            forget_before=forget_before,
            written_before=written_before,
            max_rows=max_rows,
        )

    def drop_offline_features(
        self,
        feature_group: str,
        *,
        before: Moment,
        written_before: datetime | None = None,
        dry_run: bool = False,
    ) -> DropReport:
        """Let rows of earlier event times go, in whole files; a vacuum deletes these later.

        A file that also has later rows stays, as does one whose period overlaps that of a file that stays.
        Snapshots keep their rows.

        Args:
            feature_group: name of the group.
            before: a date or moment in UTC.
            written_before: files that were written then or later stay; all may go by default.
            dry_run: only tell what would go.

        Raises:
            UnknownFeatureGroup: the message names those there are.
            InvalidDateRange: ``before`` cannot be read.
            FeatureStoreUnavailable: the storage did not answer.
        """
        return self._offline.drop(
            feature_group, before=before, written_before=written_before, dry_run=dry_run
        )

    def vacuum_offline_features(
        self,
        feature_group: str,
        *,
        older_than: timedelta = DEFAULT_GRACE,
        protected: Callable[[str], Iterable[str]] | None = None,
        dry_run: bool = False,
    ) -> VacuumReport:
        """Delete files that compactions replaced, and what writers left that died before they were done.

        Files that a snapshot names are never deleted. Of a write that has no commit, files stay for a day at
        least: its writer may still be at work.

        Args:
            feature_group: name of the group.
            older_than: for how long replaced files stay, for readers that began before they were.
            protected: gives more files to leave alone, by their place in the group's folder; called with
                the group's name, each time some are about to be deleted.
            dry_run: only tell what would be deleted.

        Raises:
            UnknownFeatureGroup: the message names those there are.
            InvalidDateRange: ``older_than`` is negative.
            CorruptFeatures: a snapshot or commit cannot be read, so nobody can tell what it needs; nothing
                was deleted.
            FeatureStoreUnavailable: the storage did not answer.
        """
        known: dict[str, frozenset[str]] = {}

        def keep() -> set[str]:
            more = protected(feature_group) if protected else ()
            return self._snapshots.protected_files(feature_group, known) | set(more)

        return self._offline.vacuum(feature_group, older_than=older_than, protected=keep, dry_run=dry_run)
