"""Column types that a feature group may hold, and their names in its commits."""

import pyarrow as pa

from mlinfra.features.errors import CorruptFeatures

PLAIN_TYPES = (
    pa.bool_(),
    pa.int8(),
    pa.int16(),
    pa.int32(),
    pa.int64(),
    pa.uint8(),
    pa.uint16(),
    pa.uint32(),
    pa.uint64(),
    pa.float32(),
    pa.float64(),
    pa.string(),
)
TIME_TYPES = tuple(pa.timestamp(unit, tz) for unit in ("us", "ns") for tz in (None, "UTC"))
TYPES_BY_NAME = {str(each): each for each in (*PLAIN_TYPES, *TIME_TYPES)}


def schema_to_names(schema: pa.Schema) -> dict[str, str]:
    """Name and type of each column, in words."""
    return {field.name: str(field.type) for field in schema}


def schema_from_names(columns: dict[str, str]) -> pa.Schema:
    """The schema that `schema_to_names` put in words.

    Raises:
        CorruptFeatures: a type is none of ours.
    """
    unknown = {name: type_name for name, type_name in columns.items() if type_name not in TYPES_BY_NAME}
    if unknown:
        raise CorruptFeatures(
            f"columns of a type that this release does not know: {unknown}; upgrade mlinfra"
        )
    return pa.schema([(name, TYPES_BY_NAME[type_name]) for name, type_name in columns.items()])
