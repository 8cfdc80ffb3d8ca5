"""A feature group as the online store keeps it: its key's type and its columns, for each version."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mlinfra.errors import suggestion
from mlinfra.features.errors import (
    CorruptFeatures,
    FeatureConflict,
    InvalidFeatures,
    UnknownFeature,
)
from mlinfra.features.growth import fits
from mlinfra.features.schema import TYPES_BY_NAME
from mlinfra.features.validation import mistakes

VECTORS_GROUP = "_vectors"
"""Holds the vectors that are written without a group, in columns ``0``, ``1``, ...; no user's group can have
this name."""
DEFAULT_VERSION = "1.0"

UNTYPED = "null"
"""Type of a column that holds only nulls; it fits every type, and none can be told from it."""

KeyType = Literal["text", "integer"]


class OnlineGroup(BaseModel):
    """One version of a group.

    Attributes:
        format: version of this record and of the rows; a reader refuses one it does not know.
        name, version: what it is called.
        key_type: type of the entities' keys.
        columns: name and type of each feature, in the order of the rows; only ever added to at the end.
    """

    model_config = ConfigDict(frozen=True)

    format: Annotated[int, Field(ge=1, le=1)] = 1
    name: str
    version: str
    key_type: KeyType
    columns: dict[str, str]

    def positions(self, features: Iterable[str]) -> list[int]:
        """Where the features stand in the rows.

        Raises:
            UnknownFeature: the group has no such feature; the message names those there are.
        """
        places = {name: place for place, name in enumerate(self.columns)}
        for name in features:
            if name not in places:
                raise UnknownFeature(
                    f"feature group {self.name!r} version {self.version!r} has no online feature {name!r}: "
                    f"{suggestion(name, places)}"
                )
        return [places[name] for name in features]


def grown(
    before: OnlineGroup | None, name: str, version: str, key_type: KeyType, columns: Mapping[str, str]
) -> OnlineGroup:
    """The group after a write of these columns: its own, then those that are new.

    Args:
        before: the group as it is; None where this is its first write.
        name, version: what it is called.
        key_type: type of the keys that are written.
        columns: name and type of each column that is written.

    Raises:
        FeatureConflict: the keys or a column have another type, or a column of the group is missing.
        InvalidFeatures: a new column has only nulls.
    """
    where = f"feature group {name!r} version {version!r}"
    if before is None:
        _refuse_untyped(columns, columns, where)
        return OnlineGroup(name=name, version=version, key_type=key_type, columns=dict(columns))
    if key_type != before.key_type:
        raise FeatureConflict(f"the keys of {where} are {before.key_type}s, and those given are {key_type}s")
    # Plain vectors may differ in length: a short one is a whole one.
    missing = [] if name == VECTORS_GROUP else [each for each in before.columns if each not in columns]
    if missing:
        raise FeatureConflict(
            f"{where} has the features {', '.join(missing)}, which are missing here: a write gives an "
            "entity's whole row; give them, with nulls where nothing is known"
        )
    _refuse_untyped([each for each in columns if each not in before.columns], columns, where)
    for column, given in columns.items():
        if given == UNTYPED:
            continue
        stored = before.columns.get(column, given)
        if not fits(TYPES_BY_NAME[given], TYPES_BY_NAME[stored]):
            raise FeatureConflict(
                f"feature {column!r} of {where} is {stored}, and the values given are {given}; convert them, "
                "or write a new version"
            )
    added = {column: kind for column, kind in columns.items() if column not in before.columns}
    return before.model_copy(update={"columns": before.columns | added})


def _refuse_untyped(features: Iterable[str], columns: Mapping[str, str], where: str) -> None:
    untyped = [each for each in features if columns[each] == UNTYPED]
    if untyped:
        raise InvalidFeatures(
            f"the new features {', '.join(untyped)} of {where} have only nulls, which tell no type; give "
            "them one with astype, or leave them out until they have values"
        )


def parse_group(record: bytes, *, place: str) -> OnlineGroup:
    """The group in a record of the store.

    Raises:
        CorruptFeatures: the record cannot be read, or is of a later release.
    """
    try:
        return OnlineGroup.model_validate_json(record)
    except ValidationError as error:
        raise CorruptFeatures(
            f"{place} holds a feature group that this release cannot read: {mistakes(error)}"
        ) from error


def is_number(type_name: str) -> bool:
    """Whether values of the type stand in a row's floats, not in its exact section alone."""
    kind = TYPES_BY_NAME[type_name]
    return not (pa.types.is_string(kind) or pa.types.is_timestamp(kind))


def may_be_exact(type_name: str) -> bool:
    """Whether values of the type may stand in a row's exact section."""
    return not is_number(type_name) or type_name in ("int64", "uint64")
