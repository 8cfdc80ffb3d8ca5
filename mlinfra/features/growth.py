"""How a feature group begins with its first rows, and how its columns may grow with later ones."""

import numpy as np
import pyarrow as pa

from mlinfra.features.errors import FeatureConflict, InvalidFeatures
from mlinfra.features.group import FeatureGroup, PartitionBy
from mlinfra.features.partitions import choose_partition
from mlinfra.features.rows import times_of


def new_group(
    name: str,
    table: pa.Table,
    time_column: str,
    entity_column: str | None,
    partition_by: PartitionBy | None,
) -> FeatureGroup:
    """The group that begins with these rows.

    Raises:
        InvalidFeatures: the entity column cannot be told, or a column's type.
    """
    _check_types_known(table.schema, group=name)
    return FeatureGroup(
        name=name,
        entity_column=_checked_entity(
            table, entity_column or _only_text_column(table, group=name), group=name
        ),
        time_column=time_column,
        partition_by=partition_by or choose_partition(np.sort(times_of(table, time_column))),
        schema=table.schema,
    )


def grown_group(
    before: FeatureGroup, table: pa.Table, entity_column: str | None, partition_by: PartitionBy | None
) -> FeatureGroup:
    """The group after these rows are appended: its own columns, then those that are new.

    Raises:
        FeatureConflict: what is given contradicts the group: its key, its partitions, a column's type.
    """
    name = before.name
    if entity_column not in (None, before.entity_column):
        raise FeatureConflict(
            f"feature group {name!r} has the entity column {before.entity_column!r}, not {entity_column!r}; "
            "leave entity_column out, or write to a new group"
        )
    if partition_by not in (None, before.partition_by):
        raise FeatureConflict(
            f"feature group {name!r} is kept by {before.partition_by}, not by {partition_by}: its first "
            "write decided; leave partition_by out, or write to a new group"
        )
    missing = [column for column in before.schema.names if column not in table.column_names]
    if missing:
        raise FeatureConflict(
            f"feature group {name!r} has the columns {', '.join(missing)}, which are missing here; give "
            "them, with nulls where nothing is known"
        )
    for field in before.schema:
        given = table.schema.field(field.name).type
        if not fits(given, field.type):
            raise FeatureConflict(
                f"column {field.name!r} of feature group {name!r} is {field.type}, and the rows given have "
                f"{given}; convert the column, or write it under a new name"
            )
    _checked_entity(table, before.entity_column, group=name)
    grown = before.with_columns(table.schema)
    _check_types_known(grown.schema, group=name)
    return grown


def fits(given: pa.DataType, stored: pa.DataType) -> bool:
    """Whether values of one type may be stored as the other; that each of them does, `cast` finds out."""
    if given == stored or pa.types.is_null(given):
        return True
    if pa.types.is_timestamp(given) and pa.types.is_timestamp(stored):
        return bool(given.tz == stored.tz)
    if pa.types.is_floating(stored):
        narrower = pa.types.is_floating(given) and given.bit_width <= stored.bit_width
        return bool(narrower or pa.types.is_integer(given))
    if pa.types.is_integer(stored):
        same_sign = pa.types.is_signed_integer(given) == pa.types.is_signed_integer(stored)
        return bool(pa.types.is_integer(given) and same_sign and given.bit_width <= stored.bit_width)
    return False


def cast(table: pa.Table, group: FeatureGroup) -> pa.Table:
    """The table with the group's columns, order and types.

    Raises:
        FeatureConflict: a value does not fit, such as an integer that a float cannot hold exactly.
    """
    columns = []
    for field in group.schema:
        try:
            columns.append(table.column(field.name).cast(field.type))
        except pa.ArrowInvalid as error:
            raise FeatureConflict(
                f"column {field.name!r} of feature group {group.name!r} is {field.type}, and a value given "
                f"does not fit: {error}"
            ) from error
    return pa.Table.from_arrays(columns, schema=group.schema)


def _check_types_known(schema: pa.Schema, *, group: str) -> None:
    untyped = [field.name for field in schema if pa.types.is_null(field.type)]
    if untyped:
        raise InvalidFeatures(
            f"the new columns {', '.join(untyped)} of feature group {group!r} have only nulls, which tell no "
            "type; give them one with astype, or leave them out until they have values"
        )


def _only_text_column(table: pa.Table, *, group: str) -> str:
    texts: list[str] = [field.name for field in table.schema if pa.types.is_string(field.type)]
    if len(texts) == 1:
        return texts[0]
    found = f"the columns {', '.join(texts)} all hold text" if texts else "no column holds text"
    raise InvalidFeatures(
        f"feature group {group!r}: which column is the entity's key? {found}; give entity_column=..., and "
        "add a column with one value where all rows are of one entity"
    )


def _checked_entity(table: pa.Table, name: str, *, group: str) -> str:
    if name not in table.column_names:
        raise InvalidFeatures(
            f"entity column {name!r} of feature group {group!r} is missing; the columns are: "
            f"{', '.join(table.column_names)}"
        )
    column = table.column(name)
    if not (pa.types.is_string(column.type) or pa.types.is_integer(column.type)):
        raise InvalidFeatures(
            f"entity column {name!r} for feature group {group!r} holds {column.type}; keys are texts or "
            "integers"
        )
    if column.null_count:
        raise InvalidFeatures(
            f"entity column {name!r} for feature group {group!r} has {column.null_count} rows without a key"
        )
    return name
