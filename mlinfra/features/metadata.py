"""The definition of a feature: its name and version, what it means, and where it comes from."""

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from mlinfra.features.expectations import Expectations

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"
"""Of features, versions and groups: they are names of files and folders."""

MAX_NAME_LENGTH = 128

Name = Annotated[str, Field(max_length=MAX_NAME_LENGTH, pattern=NAME_PATTERN)]


class FeatureMetadata(BaseModel):
    """What a feature means and where it comes from.

    Attributes:
        name: name of the feature: the column of its group.
        version: version of its definition; a changed definition takes a new one.
        description: its meaning, with unit and range.
        feature_type: kind of feature, such as ``technical``.
        data_type: type of its values, such as ``float``.
        source: what computes it.
        expectations: rules that its values follow, checked when they are written.
        dependencies: what it is computed from: ``rsi`` or ``rsi@1.0`` is a registered feature, ``raw:close``
            a column of the raw data; see `mlinfra.features.dependencies`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    version: Name = "1.0"
    description: str = ""
    feature_type: str = ""
    data_type: str = "float"
    source: str = ""
    dependencies: tuple[str, ...] = ()
    expectations: Expectations | None = None


@dataclass(frozen=True, slots=True)
class FeatureChange:
    """One field that differs between two definitions."""

    field: str
    before: Any
    after: Any


def changes(before: FeatureMetadata, after: FeatureMetadata) -> tuple[FeatureChange, ...]:
    """The fields in which two definitions differ, name and version aside."""
    old, new = _fields(before), _fields(after)
    return tuple(
        FeatureChange(field, old.get(field), new.get(field))
        for field in dict.fromkeys([*old, *new])
        if old.get(field) != new.get(field)
    )


def _fields(definition: FeatureMetadata) -> dict[str, Any]:
    fields = definition.model_dump(exclude={"name", "version", "expectations"})
    if definition.expectations is not None:
        rules = definition.expectations.model_dump(exclude_none=True)
        fields |= {f"expectations.{rule}": value for rule, value in rules.items()}
    return fields


def is_name(text: str) -> bool:
    """Whether a text can name a feature, a version or a group."""
    return len(text) <= MAX_NAME_LENGTH and re.fullmatch(NAME_PATTERN, text) is not None


def version_order(version: str) -> tuple[tuple[int, int, str], ...]:
    """A key to sort versions by, 1.10 after 1.9: runs of digits compare as numbers, after all other text."""
    parts = re.findall(r"\d+|\D+", version)
    return tuple((1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts)
