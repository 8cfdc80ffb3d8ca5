"""Snapshots: rows that are read again, the very same, or not at all."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress

import pandas as pd

from mlinfra.errors import suggestion
from mlinfra.features.commits import DataFile
from mlinfra.features.errors import (
    CorruptFeatures,
    FeatureConflict,
    InvalidDateRange,
    InvalidFeatures,
    UnknownFeatureGroup,
    UnknownSnapshot,
)
from mlinfra.features.files import storage_errors
from mlinfra.features.group_files import GroupFiles
from mlinfra.features.manifest import ID_PREFIX, GroupSnapshot, Snapshot
from mlinfra.features.metadata import is_name
from mlinfra.features.offline import OfflineStore, requested_columns
from mlinfra.features.parquet_files import check_sizes, to_pandas
from mlinfra.features.storage import Storage
from mlinfra.features.timerange import Moment, moment_after, time_range

SUFFIX = ".json"
FILES_NAMED = 5
READ_BYTES = 1 << 20


class Snapshots:
    """The manifests in one folder: ``<folder>/<id>.json``."""

    def __init__(self, storage: Storage, offline: OfflineStore) -> None:
        self._storage = storage
        self._offline = offline

    def describe(
        self,
        feature_groups: str | Sequence[str],
        name: str | None,
        *,
        start: Moment | None,
        end: Moment | None,
        columns: Sequence[str] | Mapping[str, Sequence[str]] | None,
        known_at: Moment | None,
    ) -> Snapshot:
        """The snapshot of rows as they are now, kept nowhere yet; see `FeatureStore.create_snapshot`."""
        names = [feature_groups] if isinstance(feature_groups, str) else list(dict.fromkeys(feature_groups))
        _check_name(name)
        if not names:
            raise InvalidFeatures("name one feature group at least to take a snapshot of")
        by_group = _columns_by_group(names, columns)
        created_before = None if known_at is None else moment_after(known_at, "known_at", "us")
        groups = []
        for group_name in names:
            files = self._offline.files_of(group_name)
            period = time_range(start, end, files.group.time_type)
            chosen = files.within(period, created_before)
            wanted = requested_columns(files.group, by_group[group_name])
            groups.append(GroupSnapshot.of(chosen, wanted, rows=_count(chosen)))
        return Snapshot.of(groups, name)

    def create(self, snapshot: Snapshot) -> Snapshot:
        """Keep a snapshot; the one that is there where its content is.

        Raises:
            InvalidDateRange: a group has no rows in it.
            FeatureConflict: its name is another snapshot's.
            CorruptFeatures: a file is no longer there.
            FeatureStoreUnavailable: the store cannot be written.
        """
        for each in snapshot.groups:
            if each.rows == 0:
                raise InvalidDateRange(self._nothing_there(each))
        return self.publish(snapshot)

    def publish(self, snapshot: Snapshot) -> Snapshot:
        """Keep a snapshot, such as one from an MLflow run, unless it is there."""
        names = sorted(each.group for each in snapshot.groups)
        with storage_errors(self._storage.where()), ExitStack() as stack:
            if self._storage.exists(snapshot.id + SUFFIX):
                return self._load(snapshot.id)
            # Vacuum holds the groups' locks: it sees this manifest, or has taken its files before the check.
            holds = [stack.enter_context(self._offline.lock(name)) for name in names]
            holds.append(stack.enter_context(self._storage.exclusive("_lock")))
            for each in snapshot.groups:
                check_sizes(self._offline.folder(each.group), each.files)
            if self._storage.exists(snapshot.id + SUFFIX):
                return self._load(snapshot.id)
            for other in self.all() if snapshot.name else ():
                if other.name == snapshot.name:
                    raise FeatureConflict(
                        f"the name {snapshot.name!r} is that of snapshot {other.id}, which holds other rows; "
                        "snapshots never change: take another name"
                    )
            for still_held in holds:
                still_held()
            self._storage.publish(snapshot.id + SUFFIX, snapshot.to_json().encode())
        return snapshot

    def all(self) -> list[Snapshot]:
        """Every snapshot, the oldest first.

        Raises:
            CorruptFeatures: a manifest cannot be read; the message names it.
        """
        with storage_errors(self._storage.where()):
            found = [snapshot for _, snapshot in self._loaded(self._names())]
        return sorted(found, key=lambda each: (each.created_at, each.id))

    def get(self, snapshot: str) -> Snapshot:
        """A snapshot by ID or name; raises `UnknownSnapshot`."""
        with storage_errors(self._storage.where()):
            if snapshot.startswith(ID_PREFIX) and self._storage.exists(snapshot + SUFFIX):
                return self._load(snapshot)
            found = {each.label: each for each in self.all()}
        if snapshot not in found:
            raise UnknownSnapshot(
                f"no snapshot {snapshot!r} in {self._storage.where()}: {suggestion(snapshot, found)}"
            )
        return found[snapshot]

    def read(
        self, snapshot: Snapshot, feature_group: str | None, columns: Sequence[str] | None, *, verify: bool
    ) -> pd.DataFrame:
        """Rows of a snapshot; see `FeatureStore.read_snapshot`."""
        files = self.files_of(snapshot, feature_group, verify=verify)
        in_order = [*snapshot.of_group(feature_group).columns]
        return to_pandas(files.read(in_order if columns is None else requested_columns(files.group, columns)))

    def files_of(self, snapshot: Snapshot, feature_group: str | None, *, verify: bool) -> GroupFiles:
        """Files of a group in a snapshot.

        Raises:
            UnknownFeatureGroup: the snapshot does not hold it.
            CorruptFeatures: files are gone or changed; the message names them.
        """
        group = snapshot.of_group(feature_group)
        folder = self._offline.folder(group.group)
        if verify:
            _verify(snapshot, folder, group.files)
        return group.files_in(folder)

    def delete(self, snapshot: str) -> None:
        """Forget a snapshot by ID or name; its files no longer are protected."""
        found = self.get(snapshot)
        with storage_errors(self._storage.where()), self._storage.exclusive("_lock"):
            self._storage.delete(found.id + SUFFIX)

    def protected_files(self, feature_group: str, known: dict[str, frozenset[str]] | None = None) -> set[str]:
        """Files of a group that snapshots name, by their place in the group's folder.

        Args:
            feature_group: the group.
            known: of manifests that were read before, by name, its files; kept up to date.

        Raises:
            CorruptFeatures: a manifest cannot be read: then nobody can tell what it protects.
        """
        known = {} if known is None else known
        with storage_errors(self._storage.where()):
            names = self._names()
            for name, snapshot in self._loaded([name for name in names if name not in known]):
                groups = [each for each in snapshot.groups if each.group == feature_group]
                known[name] = frozenset(file.path for each in groups for file in each.files)
        return set().union(*(known[name] for name in names if name in known))

    def _names(self) -> list[str]:
        return [each.name for each in self._storage.entries() if each.name.endswith(SUFFIX)]

    def _loaded(self, names: Iterable[str]) -> Iterator[tuple[str, Snapshot]]:
        """Snapshots by the names of their manifests, but for those that were deleted since."""
        for name in names:
            with suppress(FileNotFoundError):
                yield name, self._load(name.removesuffix(SUFFIX))

    def _load(self, snapshot_id: str) -> Snapshot:
        name = snapshot_id + SUFFIX
        return Snapshot.from_json(self._storage.read(name), where=self._storage.where(name))

    def _nothing_there(self, empty: GroupSnapshot) -> str:
        times = self._offline.files_of(empty.group).files
        there_is = "it is empty"
        if times:
            first = min(pd.Timestamp(file.first_event) for file in times)
            last = max(pd.Timestamp(file.last_event) for file in times)
            there_is = f"it has {first} to {last}"
        known = f" that were created before {empty.created_before}" if empty.created_before else ""
        return (
            f"feature group {empty.group!r} has no rows from {empty.start or 'its beginning'} to before "
            f"{empty.stop or 'its end'}{known}; {there_is}"
        )


def _check_name(name: str | None) -> None:
    if name is None:
        return
    if not is_name(name) or name.startswith(ID_PREFIX):
        raise InvalidFeatures(
            f"{name!r} cannot name a snapshot: use letters, digits, underscore, dot and hyphen, and not "
            f"{ID_PREFIX!r} at the beginning"
        )


def _columns_by_group(
    names: Sequence[str], columns: Sequence[str] | Mapping[str, Sequence[str]] | None
) -> Mapping[str, Sequence[str] | None]:
    if columns is None:
        return dict.fromkeys(names)
    if isinstance(columns, Mapping):
        for name in columns:
            if name not in names:
                raise UnknownFeatureGroup(
                    f"columns are given for the feature group {name!r}, which is not in the snapshot: "
                    f"{suggestion(name, names)}"
                )
        return {name: columns.get(name) for name in names}
    if len(names) > 1:
        raise InvalidFeatures(
            f"of which feature group are the columns {', '.join(columns)}? Give a dictionary from the name "
            "of each feature group to its columns"
        )
    return {names[0]: columns}


def _count(files: GroupFiles) -> int:
    whole = all(files.period.contains(file.first_event, file.last_event) for file in files.files)
    if whole and files.unique and files.created_before is None:
        return files.rows
    return len(files.read([files.group.time_column, files.group.entity_column]))


def _verify(snapshot: Snapshot, folder: Storage, files: Iterable[DataFile]) -> None:
    """Refuse files that are gone or other than they were, naming them."""
    faults = []
    with storage_errors(folder.where()):
        for file in files:
            size = folder.size(file.path)
            if size is None:
                faults.append(f"{folder.where(file.path)} is gone")
            elif size != file.bytes:
                faults.append(f"{folder.where(file.path)} has {size} bytes instead of {file.bytes}")
            elif _sha256(folder, file.path) != file.sha256:
                faults.append(f"{folder.where(file.path)} has another content")
    if faults:
        more = f" and {len(faults) - FILES_NAMED} more" if len(faults) > FILES_NAMED else ""
        raise CorruptFeatures(
            f"snapshot {snapshot.label!r} of {snapshot.created_at:%Y-%m-%d} cannot be read as it was: "
            f"{'; '.join(faults[:FILES_NAMED])}{more}. Restore the files from a backup; its rows cannot be "
            "told from anything else"
        )


def _sha256(folder: Storage, name: str) -> str:
    digest = hashlib.sha256()
    with folder.filesystem.open_input_stream(folder.path(name)) as stream:
        while chunk := stream.read(READ_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
