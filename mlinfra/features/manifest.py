"""The manifest of a snapshot: which rows of which files it holds, in readable JSON that never changes."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Self

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mlinfra.errors import suggestion
from mlinfra.features.commits import DataFile
from mlinfra.features.errors import CorruptFeatures, UnknownFeatureGroup
from mlinfra.features.frame import CREATED_TYPE
from mlinfra.features.group import CREATED_COLUMN, FeatureGroup, PartitionBy
from mlinfra.features.group_files import GroupFiles
from mlinfra.features.schema import schema_from_names, schema_to_names
from mlinfra.features.storage import Storage
from mlinfra.features.timerange import TimeRange
from mlinfra.features.validation import mistakes

FORMAT = 1
ID_PREFIX = "snapshot-"
ID_DIGITS = 24
"""Of a SHA-256, in hexadecimal: with the prefix it fits MLflow's 36 characters for a data set's digest."""


class GroupSnapshot(BaseModel):
    """The rows of one feature group in a snapshot.

    Attributes:
        group: name of the feature group.
        commit: its newest commit then; what is read depends on the files alone.
        entity_column, time_column, partition_by: as of `FeatureGroup`.
        columns: name and type of each column, in the order in which they are read.
        start: event time of the first row that may be in it, ISO 8601 in UTC; None is unbounded.
        stop: first event time after it; None is unbounded.
        created_before: rows created then or later are not in it; None is any time.
        rows: number of rows, one for each entity and event time.
        files: in the order they were added.
    """

    model_config = ConfigDict(frozen=True)

    group: str
    commit: int
    entity_column: str
    time_column: str
    partition_by: PartitionBy
    columns: dict[str, str]
    start: str | None = None
    stop: str | None = None
    created_before: str | None = None
    rows: Annotated[int, Field(ge=0)]
    files: tuple[DataFile, ...]

    @classmethod
    def of(cls, files: GroupFiles, columns: Sequence[str], *, rows: int) -> Self:
        """What files of a group hold."""
        group, period = files.group, files.period
        return cls(
            group=group.name,
            commit=files.commit,
            entity_column=group.entity_column,
            time_column=group.time_column,
            partition_by=group.partition_by,
            columns=schema_to_names(pa.schema([group.schema.field(name) for name in columns])),
            start=None if period.start is None else str(period.start),
            stop=None if period.stop is None else str(period.stop),
            created_before=None
            if files.created_before is None
            else str(np.datetime64(files.created_before, "us")),
            rows=rows,
            files=files.files,
        )

    @property
    def features(self) -> list[str]:
        """The columns that are neither keys nor the time of creation."""
        keys = (self.time_column, self.entity_column, CREATED_COLUMN)
        return [name for name in self.columns if name not in keys]

    def files_in(self, folder: Storage) -> GroupFiles:
        """The same rows of the files in the group's folder."""
        schema = schema_from_names(self.columns)
        if CREATED_COLUMN not in schema.names:
            schema = schema.append(pa.field(CREATED_COLUMN, CREATED_TYPE))
        group = FeatureGroup(self.group, self.entity_column, self.time_column, self.partition_by, schema)
        unit = group.time_type.unit
        period = TimeRange(
            None if self.start is None else np.datetime64(self.start, unit),
            None if self.stop is None else np.datetime64(self.stop, unit),
            group.time_type,
        )
        created_before = None
        if self.created_before is not None:
            created_before = int(np.datetime64(self.created_before, "us").astype(np.int64))
        return GroupFiles(folder, group, self.commit, self.files, period, created_before)


class Snapshot(BaseModel):
    """Rows that can be read again, the very same, for as long as their files are there.

    Attributes:
        format: version of this format; a reader refuses one it does not know.
        id: derived from the name and the content: what is the same has the same ID.
        name: a name of one's own, if it was given one.
        created_at: when it was made first.
        groups: the rows of each feature group.
    """

    model_config = ConfigDict(frozen=True)

    format: int = FORMAT
    id: str
    name: str | None = None
    created_at: datetime
    groups: tuple[GroupSnapshot, ...]

    @classmethod
    def of(cls, groups: Iterable[GroupSnapshot], name: str | None) -> Self:
        """A snapshot of groups, made now."""
        groups = tuple(groups)
        content = [each.model_dump(mode="json", exclude_none=True) for each in groups]
        return cls(id=_derived_id(content, name), name=name, created_at=datetime.now(UTC), groups=groups)

    @classmethod
    def from_json(cls, content: bytes | str, *, where: str) -> Self:
        """The snapshot that a manifest describes.

        Raises:
            CorruptFeatures: it is none, of a later format, or was changed; the message calls it ``where``.
        """
        try:
            document = json.loads(content)
            if isinstance(document, dict) and document.get("format", FORMAT) != FORMAT:
                raise CorruptFeatures(
                    f"{where} has format {document['format']}, and this release reads format {FORMAT}; "
                    "upgrade mlinfra"
                )
            snapshot = cls.model_validate(document)
        except (ValidationError, ValueError) as error:
            raise CorruptFeatures(
                f"{where} is not the manifest of a snapshot: {mistakes(error)}; restore it from a backup, "
                "or from the MLflow run that used it"
            ) from error
        # Of the document, not of the model: a later release's may have more fields.
        if snapshot.id != _derived_id(document["groups"], snapshot.name):
            raise CorruptFeatures(
                f"{where} was changed since it was written: its content is not that of {snapshot.id}; "
                "restore it from a backup, or from the MLflow run that used it"
            )
        return snapshot

    @property
    def rows(self) -> int:
        """Rows of all groups."""
        return sum(each.rows for each in self.groups)

    @property
    def label(self) -> str:
        """What people call it: its name, else its ID."""
        return self.name or self.id

    def to_json(self) -> str:
        """The manifest."""
        return self.model_dump_json(indent=1, exclude_none=True) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """The manifest, ready for JSON."""
        document: dict[str, Any] = self.model_dump(mode="json", exclude_none=True)
        return document

    def of_group(self, name: str | None = None) -> GroupSnapshot:
        """The rows of a group; of the only one where none is named.

        Raises:
            UnknownFeatureGroup: it is not in the snapshot, or several are and none is named.
        """
        by_name: Mapping[str, GroupSnapshot] = {each.group: each for each in self.groups}
        if name is None and len(by_name) == 1:
            return self.groups[0]
        if name is None:
            raise UnknownFeatureGroup(
                f"snapshot {self.label!r} holds several feature groups; name one of {', '.join(by_name)}"
            )
        if name not in by_name:
            raise UnknownFeatureGroup(
                f"snapshot {self.label!r} holds no feature group {name!r}: {suggestion(name, by_name)}"
            )
        return by_name[name]


def _derived_id(groups: Sequence[Mapping[str, Any]], name: str | None) -> str:
    content = [{key: value for key, value in group.items() if key != "commit"} for group in groups]
    text = json.dumps({"name": name, "groups": content}, sort_keys=True, separators=(",", ":"))
    return ID_PREFIX + hashlib.sha256(text.encode()).hexdigest()[:ID_DIGITS]
