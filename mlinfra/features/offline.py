"""The offline store: the history of each feature group in Parquet, written whole or not at all."""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pandas as pd
import pyarrow as pa

from mlinfra.errors import suggestion
from mlinfra.features.additions import added_files
from mlinfra.features.commit_log import CommitLog, later_than, lock_name
from mlinfra.features.commits import Change, Commit, CommitMark, DataFile, GroupState, Head, Replacement
from mlinfra.features.compaction import CompactionReport, merged, report_of, to_compact
from mlinfra.features.errors import (
    CorruptFeatures,
    FeatureStoreUnavailable,
    InvalidFeatures,
    UnknownFeature,
    UnknownFeatureGroup,
)
from mlinfra.features.files import storage_errors
from mlinfra.features.frame import Rows, to_table, with_creation_time
from mlinfra.features.group import FeatureGroup, PartitionBy
from mlinfra.features.group_files import GroupFiles
from mlinfra.features.growth import cast, grown_group, new_group
from mlinfra.features.metadata import is_name
from mlinfra.features.parquet_files import remove_files, to_pandas, write_files
from mlinfra.features.partitions import UNITS
from mlinfra.features.retention import DropReport, report_of_drop, to_drop
from mlinfra.features.rows import sorted_rows
from mlinfra.features.storage import StillHeld, Storage
from mlinfra.features.timerange import EPOCH, Moment, TimeRange, moment_after, time_range
from mlinfra.features.vacuum import VacuumReport, vacuum

LONGEST_WRITE_SECONDS = 12 * 3600.0
"""Half of how long a vacuum leaves files alone that no commit names."""
PARTS_A_COMMIT = 32
"""Of a compaction: so many merged files at most are lost where it is killed."""

Result = TypeVar("Result")
Select = Callable[[pa.Table, FeatureGroup], pa.Table]
"""Which of the rows given are written; it may raise to refuse them all."""


class OfflineStore:
    """Feature groups under one folder: ``<folder>/<group>``."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._known: dict[str, dict[str, Commit]] = {}

    def groups(self) -> list[str]:
        """Names of the groups that something was written to."""
        with storage_errors(self._storage.where()):
            folders = [entry.name for entry in self._storage.entries() if entry.is_folder]
            return [name for name in folders if self._log(name).exists()]

    def group(self, name: str) -> FeatureGroup:
        """Key, time, partitions and columns of a group; raises `UnknownFeatureGroup`."""
        with storage_errors(self._storage.where(name)):
            head = self._log(name).head() if is_name(name) else None
        return head.group if head else self._state(name).group

    def folder(self, name: str) -> Storage:
        """The folder of a group, whether there is one or not."""
        return self._storage.at(name)

    def lock(self, name: str) -> AbstractContextManager[StillHeld]:
        """Hold a group against all other writers."""
        return self._storage.exclusive(lock_name(name))

    def files_of(self, name: str) -> GroupFiles:
        """A group's files as of now; raises `UnknownFeatureGroup`."""
        return self._files(name, self._state(name))

    def files_since(self, name: str, mark: CommitMark | None) -> tuple[GroupFiles, CommitMark]:
        """The rows that were added after a commit, all without one, in files; and the newest commit.

        A row comes once, whatever is merged meanwhile, unless the file that it was written to was deleted. On
        an object store it comes again where the commit that added it may be as late as the mark's.

        Raises:
            UnknownFeatureGroup: there is no such group.
        """
        state = self._state(name)
        files = self._files(name, state)
        size = files.storage.size
        with storage_errors(self._storage.where(name)):
            later = self._log(name).commits_since(mark)
            if later is not None:
                added = added_files(state.files, later, lambda file: size(file.path) is not None)
                files = replace(files, files=added)
        return files, state.newest

    def write(
        self,
        name: str,
        frame: Rows,
        *,
        entity_column: str | None,
        partition_by: PartitionBy | None,
        select: Select | None = None,
    ) -> int:
        """Append the frame's rows; see `FeatureStore.write_offline_features`."""
        _check_arguments(name, partition_by)
        table, time_column = to_table(frame, group=name)
        return self.append(
            name,
            table,
            time_column,
            entity_column=entity_column,
            partition_by=partition_by,
            select=select,
        )

    def append(
        self,
        name: str,
        table: pa.Table,
        time_column: str,
        *,
        entity_column: str | None,
        partition_by: PartitionBy | None,
        select: Select | None = None,
    ) -> int:
        """Append the rows of a table that `to_table` made, or those of them that ``select`` lets through."""
        with storage_errors(self._storage.where(name)):
            while True:
                before = self._log(name).head()
                now = later_than(before, datetime.now(UTC))
                rows = with_creation_time(table, now)
                if before is None:
                    group = new_group(name, rows, time_column, entity_column, partition_by)
                else:
                    rows = _with_time_column(rows, time_column, before.group)
                    group = grown_group(before.group, rows, entity_column, partition_by)
                rows = cast(rows, group)
                if select is not None:
                    rows = select(rows, group)
                    if not len(rows):
                        return 0
                if self._appended(sorted_rows(rows, group), group, after=before, now=now):
                    return len(rows)

    def _appended(self, rows: pa.Table, group: FeatureGroup, *, after: Head | None, now: datetime) -> bool:
        """Write and commit; False where another writer altered the group meanwhile: nothing was written."""
        folder, log = self._storage.at(group.name), self._log(group.name)
        started = time.monotonic()
        added = write_files(folder, group, rows)
        paths = [file.path for file in added]
        with self._uncommitted(folder, log, paths, started):
            published = log.append(Change("append", group, added), after=after, now=now)
        if not published:
            remove_files(folder, paths)
        return published

    def read(
        self, name: str, *, start: Moment | None, end: Moment | None, columns: Sequence[str] | None
    ) -> pd.DataFrame:
        """Rows of a group; see `FeatureStore.read_offline_features`."""
        return to_pandas(self.read_table(name, start=start, end=end, columns=columns))

    def read_table(
        self, name: str, *, start: Moment | None, end: Moment | None, columns: Sequence[str] | None
    ) -> pa.Table:
        """Rows of a group, as `read` gives them."""

        def read_files(files: GroupFiles) -> pa.Table:
            period = time_range(start, end, files.group.time_type)
            return files.within(period).read(requested_columns(files.group, columns))

        return self._on_current_files(name, read_files)

    def compact(
        self,
        name: str,
        *,
        min_files: int,
        forget_before: Moment | None,
        written_before: datetime | None,
        max_rows: int | None,
    ) -> CompactionReport:
        """Merge the small files of each partition; see `FeatureStore.compact_offline_features`."""
        folder, log, now = self._storage.at(name), self._log(name), datetime.now(UTC)
        forget = None
        if forget_before is not None:
            microseconds = moment_after(forget_before, "forget_before", unit="us")
            forget = EPOCH + timedelta(microseconds=microseconds)

        before: dict[str, DataFile] = {}
        done: list[Replacement] = []

        def merge_files(files: GroupFiles) -> None:
            young = _young_files(folder, written_before)
            parts = to_compact(
                files.files,
                min_files=max(min_files, 2),
                forgetting=forget is not None,
                max_rows=max_rows,
                kept=young(files.files),
            )
            before.update((file.path, file) for part in parts for file in part)
            for start in range(0, len(parts), PARTS_A_COMMIT):
                some = parts[start : start + PARTS_A_COMMIT]
                done.extend(self._merged(log, files.group, some, forget_before=forget, now=now))

        with storage_errors(folder.where()):
            self._on_current_files(name, merge_files)
        return report_of(name, before, done)

    def _merged(
        self,
        log: CommitLog,
        group: FeatureGroup,
        parts: Sequence[tuple[DataFile, ...]],
        *,
        forget_before: datetime | None,
        now: datetime,
    ) -> list[Replacement]:
        """Merge each part and commit that; those whose files nobody else replaced meanwhile."""
        folder, started = self._storage.at(group.name), time.monotonic()
        replacements, forgotten = merged(folder, group, parts, forget_before=forget_before)
        paths = [each.add.path for each in replacements]
        with self._uncommitted(folder, log, paths, started):
            since = forget_before if forgotten else None
            kept = log.replace(replacements, history_since=since, now=now)
        done = {each.add.path for each in kept}
        remove_files(folder, (path for path in paths if path not in done))
        return kept

    def drop(
        self, name: str, *, before: Moment, written_before: datetime | None, dry_run: bool
    ) -> DropReport:
        """Let rows of long ago go; see `FeatureStore.drop_offline_features`."""
        folder = self._storage.at(name)
        with storage_errors(folder.where()):
            young = _young_files(folder, written_before)

        def choose(state: GroupState) -> list[DataFile]:
            start = time_range(before, None, state.group.time_type).start
            assert start is not None
            return to_drop(state.files, start, kept=young(state.files))

        with storage_errors(folder.where()):
            state = self._state(name)
            if dry_run:
                return report_of_drop(name, choose(state))
            return report_of_drop(name, self._log(name).drop(choose, now=datetime.now(UTC)))

    def vacuum(
        self, name: str, *, older_than: timedelta, protected: Callable[[], Collection[str]], dry_run: bool
    ) -> VacuumReport:
        """Delete what no reader needs; see `FeatureStore.vacuum_offline_features`."""
        self._state(name)
        folder = self._storage.at(name)
        with storage_errors(folder.where()):
            return vacuum(
                folder,
                self._log(name),
                name=name,
                older_than=older_than,
                protected=protected,
                dry_run=dry_run,
            )

    def _on_current_files(self, name: str, use: Callable[[GroupFiles], Result]) -> Result:
        """Use a group's files, and start again where a vacuum took some meanwhile.

        It deletes what a compaction replaced, also under whoever reads slowly enough.
        """
        while True:
            files = self.files_of(name)
            try:
                return use(files)
            except CorruptFeatures:
                there = {file.path for file in self.files_of(name).files}
                if all(file.path in there for file in files.files):
                    raise

    @contextmanager
    def _uncommitted(
        self, folder: Storage, log: CommitLog, paths: Sequence[str], started: float
    ) -> Iterator[None]:
        """Remove files if their commit is not made, as where writing them began too long ago."""
        try:
            if time.monotonic() - started > LONGEST_WRITE_SECONDS:
                raise FeatureStoreUnavailable(
                    f"feature store: writing {len(paths)} files to {folder.where()} took so long that a "
                    "vacuum may have removed some; they do not count, write fewer rows at once"
                )
            yield
        except BaseException:
            # An object store may have taken a commit although no answer came: its files must stay.
            if folder.locks_exclude and not log.names_any(paths):
                remove_files(folder, paths)
            raise

    def _files(self, name: str, state: GroupState) -> GroupFiles:
        everything = TimeRange(None, None, state.group.time_type)
        return GroupFiles(
            self._storage.at(name),
            state.group,
            state.newest.commit,
            state.files,
            everything,
            history_since=state.history_since,
        )

    def _log(self, name: str) -> CommitLog:
        return CommitLog(self._storage, name, self._known.setdefault(name, {}))

    def _state(self, name: str) -> GroupState:
        with storage_errors(self._storage.where(name)):
            state = self._log(name).load() if is_name(name) else None
        if state is None:
            raise UnknownFeatureGroup(
                f"no feature group {name!r} in {self._storage.where()}: {suggestion(name, self.groups())}"
            )
        return state


def _young_files(
    folder: Storage, written_before: datetime | None
) -> Callable[[Sequence[DataFile]], Collection[str]]:
    """Tells paths of the files that were written then or later, and of those of which that is not known.

    It asks the storage once, now: what comes later is young.
    """
    if written_before is None:
        return lambda files: ()
    entries = folder.entries(recursive=True)
    old = {each.name for each in entries if each.modified is not None and each.modified < written_before}
    return lambda files: {file.path for file in files if file.path not in old}


def _check_arguments(name: str, partition_by: PartitionBy | None) -> None:
    if not is_name(name):
        raise InvalidFeatures(
            f"{name!r} cannot name a feature group: use letters, digits, underscore, dot and hyphen"
        )
    if partition_by is not None and partition_by not in UNITS:
        raise InvalidFeatures(f"partition_by is one of {', '.join(UNITS)}, not {partition_by!r}")


def _with_time_column(table: pa.Table, time_column: str, group: FeatureGroup) -> pa.Table:
    """With the event time under the group's name for it: ``timestamp`` and an index may stand for it."""
    if group.time_column in table.column_names:
        return table
    return table.rename_columns({time_column: group.time_column})


def requested_columns(group: FeatureGroup, columns: Sequence[str] | None) -> list[str]:
    """Event time, entity and then the columns, all of the group's by default; raises `UnknownFeature`."""
    if columns is None:
        return group.columns
    for name in columns:
        if name not in group.schema.names:
            known = suggestion(name, group.columns)
            raise UnknownFeature(f"feature group {group.name!r} has no column {name!r}: {known}")
    return list(dict.fromkeys([group.time_column, group.entity_column, *columns]))
