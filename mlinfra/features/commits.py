"""The commit log of a feature group: which files count, and what they hold.

A write puts its Parquet files in place and then publishes one commit, ``_commits/<number>.json``. A
file that no commit names is not part of the group, so a reader sees all of a write or nothing of it,
and a write that died leaves only files that nobody reads. Commits are numbered from 1 without gaps and
never change. Every `CHECKPOINT_INTERVAL`-th one also lists all files, so that a reader opens no more
commits than that, however old the group is.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mlinfra.features.errors import CorruptFeatures
from mlinfra.features.group import FeatureGroup, PartitionBy
from mlinfra.features.schema import schema_from_names, schema_to_names
from mlinfra.features.storage import Storage

FORMAT = 1
CHECKPOINT_INTERVAL = 64
COMMIT_NAME = re.compile(r"^([0-9]{20})\.json$")


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
    """

    model_config = ConfigDict(frozen=True)

    path: str
    rows: int
    bytes: int
    sha256: str
    first_event: str
    last_event: str
    distinct_keys: bool


class Commit(BaseModel):
    """One change of a group, complete in itself but for the files of the commits before it.

    Attributes:
        format: version of this format; a reader refuses one it does not know.
        commit: number of the commit, from 1.
        committed_at: when it was made, later than that of every commit before it.
        operation: what was done, for people; the files alone decide what is read.
        entity_column, time_column, partition_by: as of `FeatureGroup`.
        columns: name and type of each column after the commit.
        add: files that become part of the group.
        remove: paths of files that no longer are.
        files: in a checkpoint, all files of the group after it, in the order they were added.
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
    add: tuple[DataFile, ...]
    remove: tuple[str, ...] = ()
    files: tuple[DataFile, ...] | None = None


@dataclass(frozen=True, slots=True)
class GroupState:
    """A group as of one commit; files are in the order they were added."""

    group: FeatureGroup
    commit: int
    committed_at: datetime
    files: tuple[DataFile, ...]


@dataclass(frozen=True, slots=True)
class CommitMark:
    """A commit that someone has come to, such as a reader that wants what was added since."""

    commit: int
    committed_at: datetime


class CommitLog:
    """The commits of one group, in ``<group folder>/_commits``."""

    def __init__(self, group: Storage, name: str) -> None:
        self._storage = group.at("_commits")
        self._name = name

    def exists(self) -> bool:
        """Whether anything was ever committed."""
        return bool(self._numbers())

    def load(self) -> GroupState | None:
        """The group as of its newest commit, or None where there is none.

        Raises:
            CorruptFeatures: a commit is missing, cannot be read, or has a format of a later release.
        """
        numbers = self._numbers()
        if not numbers:
            return None
        newest_first: list[Commit] = []
        for number in range(numbers[-1], 0, -1):
            newest_first.append(self._read(number))
            if newest_first[-1].files is not None:
                break
        return _folded(self._name, newest_first[::-1])

    def added_since(self, mark: CommitMark | None, newest: int) -> set[str] | None:
        """Paths of the files that later commits added, up to the ``newest``.

        None where all files count: there is no mark, or it is of another group that had the same name.
        """
        if mark is None or mark.commit > newest or self._read(mark.commit).committed_at != mark.committed_at:
            return None
        later = (self._read(number) for number in range(mark.commit + 1, newest + 1))
        return {file.path for commit in later for file in commit.add}

    def append(
        self, group: FeatureGroup, added: tuple[DataFile, ...], *, after: GroupState | None, now: datetime
    ) -> None:
        """Publish a commit that adds files. The caller holds the group's lock since it loaded ``after``."""
        number = after.commit + 1 if after else 1
        before = after.files if after else ()
        commit = Commit(
            commit=number,
            committed_at=now,
            entity_column=group.entity_column,
            time_column=group.time_column,
            partition_by=group.partition_by,
            columns=schema_to_names(group.schema),
            add=added,
            files=before + added if number % CHECKPOINT_INTERVAL == 0 else None,
        )
        content = commit.model_dump_json(indent=1, exclude_none=True).encode() + b"\n"
        self._storage.publish(f"{number:020d}.json", content)

    def _numbers(self) -> list[int]:
        matches = (COMMIT_NAME.match(entry.name) for entry in self._storage.entries())
        return sorted(int(match.group(1)) for match in matches if match)

    def _read(self, number: int) -> Commit:
        name = f"{number:020d}.json"
        path = self._storage.where(name)
        try:
            commit = Commit.model_validate_json(self._storage.read(name))
        except FileNotFoundError as error:
            raise CorruptFeatures(f"{path} is missing; restore it from a backup of the store") from error
        except ValidationError as error:
            raise CorruptFeatures(f"{path} is not a commit of a feature group: {error}") from error
        if commit.format != FORMAT:
            raise CorruptFeatures(
                f"{path} has format {commit.format}, and this release reads format {FORMAT}; upgrade mlinfra"
            )
        return commit


def _folded(name: str, commits: list[Commit]) -> GroupState:
    files: dict[str, DataFile] = {}
    for commit in commits:
        if commit.files is not None:
            files = {file.path: file for file in commit.files}
            continue
        files |= {file.path: file for file in commit.add}
        files = {path: file for path, file in files.items() if path not in commit.remove}
    last = commits[-1]
    group = FeatureGroup(
        name=name,
        entity_column=last.entity_column,
        time_column=last.time_column,
        partition_by=last.partition_by,
        schema=schema_from_names(last.columns),
    )
    return GroupState(group, last.commit, last.committed_at, tuple(files.values()))
