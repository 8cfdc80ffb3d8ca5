"""Commits of a feature group: which files count, what they hold, and the group that commits make together.

A write puts its Parquet files in place and then publishes one commit. A file that no commit names is not part
of the group, so a reader sees all of a write or nothing of it, and a write that died leaves only files that
nobody reads. Commits never change, and they commute: files are only added under names of their own and
removed for good, columns are only added. So a group is the same in whatever order its commits are read, and
on an object store, where a lock cannot be relied upon, writers need none to append.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from mlinfra.features.errors import CorruptFeatures
from mlinfra.features.group import FeatureGroup, PartitionBy
from mlinfra.features.schema import schema_from_names, schema_to_names

FORMAT = 1


class DataFile(BaseModel):
    """One Parquet file of a group; its rows are sorted by time, entity and creation time.

    Attributes:
        path: place in the group's folder, with forward slashes.
        rows: number of rows.
        bytes: size of the file.
        sha256: hash of the file's content, in hexadecimal.
        first_event: earliest event time, ISO 8601 in UTC.
        last_event: latest event time.
        distinct_keys: whether no two rows have the same entity and event time.
        order: of rows with the same entity, event time and creation time, the one in the file of the highest
            order counts: the number of the commit that brought the file, or the highest of the files merged
            in it. None in commits of earlier releases, where `folded` fills it in.
    """

    model_config = ConfigDict(frozen=True)

    path: str
    rows: int
    bytes: int
    sha256: str
    first_event: str
    last_event: str
    distinct_keys: bool
    order: int | None = None

    @property
    def partition(self) -> str:
        """The folder that the file lies in, such as ``date=2024-03-17``."""
        return self.path.rpartition("/")[0]


class Commit(BaseModel):
    """One change of a group, complete in itself but for the files of the commits before it.

    Attributes:
        format: version of this format; a reader refuses one it does not know.
        commit: number of the commit, from 1; later than all that its writer saw.
        committed_at: when it was made, later than that of every commit its writer saw.
        operation: what was done, for people; the files alone decide what is read.
        entity_column, time_column, partition_by: as of `FeatureGroup`.
        columns: name and type of each column after the commit.
        add: files that become part of the group.
        remove: paths of files that no longer are.
        merged: of each file in ``add`` that has the rows of files in ``remove`` and no others, their paths:
            who saw these rows has nothing new to see in it.
        history_since: as of `GroupState`, where this commit changed it.
        files: in a checkpoint, all files of the group after it.
        covers: in a checkpoint, the names of the commits that ``files`` accounts for; without it, those with
            lower numbers.
    """

    model_config = ConfigDict(frozen=True)

    format: int = FORMAT
    commit: Annotated[int, Field(ge=1)]
    committed_at: datetime
    operation: str = "append"
    entity_column: str
    time_column: str
    partition_by: PartitionBy
    columns: dict[str, str]
    add: tuple[DataFile, ...] = ()
    remove: tuple[str, ...] = ()
    merged: dict[str, tuple[str, ...]] | None = None
    history_since: datetime | None = None
    files: tuple[DataFile, ...] | None = None
    covers: tuple[str, ...] | None = None

    def group(self, name: str) -> FeatureGroup:
        """The group as this commit describes it."""
        return FeatureGroup(
            name=name,
            entity_column=self.entity_column,
            time_column=self.time_column,
            partition_by=self.partition_by,
            schema=schema_from_names(self.columns),
        )


class CommitOutline(BaseModel):
    """A commit without its files, which a checkpoint has many of; attributes as of `Commit`."""

    model_config = ConfigDict(frozen=True)

    format: int = FORMAT
    commit: Annotated[int, Field(ge=1)]
    committed_at: datetime
    remove: tuple[str, ...] = ()
    covers: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What a commit does to a group.

    Attributes:
        operation: what is done, for people.
        group: the group after it.
        add: files that become part of the group; their order is given to them where they have none.
        remove: paths of files that no longer are.
        merged, history_since: as of `Commit`.
    """

    operation: str
    group: FeatureGroup
    add: tuple[DataFile, ...] = ()
    remove: tuple[str, ...] = ()
    merged: dict[str, tuple[str, ...]] | None = None
    history_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Replacement:
    """A file with the rows of others, and the paths of these."""

    add: DataFile
    remove: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CommitMark:
    """A commit that someone has come to, such as a reader that wants what was added since."""

    commit: int
    committed_at: datetime


@dataclass(frozen=True, slots=True)
class Head:
    """A group's definition as of its newest commit.

    Attributes:
        group: key, time, partitions and columns.
        commit: the highest number of its commits.
        committed_at: no commit was made later.
    """

    group: FeatureGroup
    commit: int
    committed_at: datetime


@dataclass(frozen=True, slots=True)
class GroupState:
    """A group as of its newest commit.

    Attributes:
        group: key, time, partitions and columns.
        newest: the commit of the highest number.
        clock: no commit was made later; on an object store this need not be the newest's time.
        files: sorted by order; a later file's row counts before an earlier one's of the same entity, event
            time and creation time.
        history_since: of rows that were superseded before, the older ones may be gone: what was known at an
            earlier moment cannot be told any more. None where nothing is gone.
    """

    group: FeatureGroup
    newest: CommitMark
    clock: datetime
    files: tuple[DataFile, ...]
    history_since: datetime | None = None

    @property
    def head(self) -> Head:
        return Head(self.group, self.newest.commit, self.clock)


def commit_of(
    change: Change,
    *,
    number: int,
    committed_at: datetime,
    before: GroupState | None = None,
    covers: Sequence[str] = (),
) -> Commit:
    """The commit that makes a change.

    Args:
        change: what it does.
        number: its number.
        committed_at: when it is made.
        before: the group before it, to make it a checkpoint.
        covers: the names of the commits that ``before`` is made of, where numbers alone do not tell.
    """
    added = tuple(
        file if file.order is not None else file.model_copy(update={"order": number}) for file in change.add
    )
    checkpoint = None
    if before:
        gone = set(change.remove)
        checkpoint = (*(file for file in before.files if file.path not in gone), *added)
    since = change.history_since
    if before and before.history_since:
        since = max(since, before.history_since) if since else before.history_since
    return Commit(
        commit=number,
        committed_at=committed_at,
        operation=change.operation,
        entity_column=change.group.entity_column,
        time_column=change.group.time_column,
        partition_by=change.group.partition_by,
        columns=schema_to_names(change.group.schema),
        add=added,
        remove=change.remove,
        merged=change.merged,
        history_since=since,
        files=checkpoint,
        covers=tuple(covers) if covers else None,
    )


def folded(name: str, commits: Sequence[Commit]) -> GroupState:
    """The group that the commits make together.

    Args:
        name: the group's name.
        commits: at least one, a checkpoint first if there is any, then the others by their numbers.

    Raises:
        CorruptFeatures: two commits contradict each other.
    """
    files: dict[str, DataFile] = {}
    removed: set[str] = set()
    group, described = commits[0].group(name), commits[0]
    for commit in commits:
        if commit.columns != described.columns or _keys(commit) != _keys(described):
            group, described = _merged(group, commit), commit
        files |= {file.path: file for file in _ordered(commit)}
        removed.update(commit.remove)
    kept = [file for path, file in files.items() if path not in removed]
    forgotten = [commit.history_since for commit in commits if commit.history_since]
    number, committed_at = max((commit.commit, commit.committed_at) for commit in commits)
    return GroupState(
        group=group,
        newest=CommitMark(number, committed_at),
        clock=max(commit.committed_at for commit in commits),
        files=tuple(sorted(kept, key=lambda file: (file.order or 0, file.path))),
        history_since=max(forgotten, default=None),
    )


def _ordered(commit: Commit) -> list[DataFile]:
    """The files of a commit with their order, which those of earlier releases have by their place."""
    if commit.files is None:
        return with_order(commit)
    first = -len(commit.files)
    return [_with_order(file, first + place) for place, file in enumerate(commit.files)]


def with_order(commit: Commit) -> list[DataFile]:
    """The files that a commit adds, with their order."""
    return [_with_order(file, commit.commit) for file in commit.add]


def _with_order(file: DataFile, order: int) -> DataFile:
    return file if file.order is not None else file.model_copy(update={"order": order})


def _keys(commit: Commit) -> tuple[str, str, PartitionBy]:
    return commit.entity_column, commit.time_column, commit.partition_by


def _merged(group: FeatureGroup, commit: Commit) -> FeatureGroup:
    """With the columns of one more commit."""
    other = commit.group(group.name)
    for what in ("entity_column", "time_column", "partition_by"):
        one, two = getattr(group, what), getattr(other, what)
        if one != two:
            raise CorruptFeatures(
                f"feature group {group.name!r}: its commits disagree on {what.replace('_', ' ')}: {one!r} "
                f"and, in commit {commit.commit} of {commit.committed_at}, {two!r}; move the commit that is "
                "wrong out of the folder _commits"
            )
    for field in other.schema:
        known = group.schema.get_field_index(field.name)
        if known >= 0 and group.schema.field(known).type != field.type:
            raise CorruptFeatures(
                f"feature group {group.name!r}: its commits disagree on the type of column {field.name!r}: "
                f"{group.schema.field(known).type} and, in commit {commit.commit} of {commit.committed_at}, "
                f"{field.type}; move the commit that is wrong out of the folder _commits"
            )
    return group.with_columns(other.schema)
