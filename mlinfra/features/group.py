"""A feature group as its files describe it: key, time, partitions and columns."""

from dataclasses import dataclass, replace
from typing import Literal

import pyarrow as pa

PartitionBy = Literal["day", "month", "year"]

CREATED_COLUMN = "created_timestamp"
"""When a row was written: of rows with the same entity and event time, the newest counts."""
PARTITION_COLUMN = "date"
"""Name of the partition folders, hence of no column."""
DEFAULT_TIME_COLUMN = "event_timestamp"
TIME_COLUMNS = (DEFAULT_TIME_COLUMN, "timestamp")


@dataclass(frozen=True, slots=True)
class FeatureGroup:
    """Rows of one kind: an entity, an event time, and the features known of it at that time.

    Attributes:
        name: name of the group.
        entity_column: column of the entity's key.
        time_column: column of the event time.
        partition_by: the period that one ``date=`` folder holds.
        schema: name and type of every column in the files, `CREATED_COLUMN` included.
    """

    name: str
    entity_column: str
    time_column: str
    partition_by: PartitionBy
    schema: pa.Schema

    def with_columns(self, schema: pa.Schema) -> "FeatureGroup":
        """The group with the columns of the schema that it lacks, behind its own."""
        added = [field for field in schema if field.name not in self.schema.names]
        return replace(self, schema=pa.schema([*self.schema, *added])) if added else self

    @property
    def columns(self) -> list[str]:
        """The columns that a read gives by default: entity, time, and every feature."""
        return [name for name in self.schema.names if name != CREATED_COLUMN]

    @property
    def features(self) -> list[str]:
        """The columns that are neither entity nor time."""
        return [name for name in self.columns if name not in (self.entity_column, self.time_column)]

    @property
    def time_type(self) -> pa.TimestampType:
        """Type of the event time: its unit, and UTC or no time zone."""
        return self.schema.field(self.time_column).type
