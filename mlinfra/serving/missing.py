"""What is done about features that are missing or too old: rejected, or replaced, and always told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlinfra.serving.errors import MissingFeaturesError, UnknownEntityError
from mlinfra.serving.settings import MissingPolicy

Floats = NDArray[np.float64]
NAMES_TOLD = 10


@dataclass(frozen=True, slots=True)
class Known:
    """What the feature store knows of one entity.

    Attributes:
        entity: its key.
        values: its newest rows, oldest first, at most a window of them, (rows, features); NaN is null.
        events: event time of each, nanoseconds since 1970 in UTC, (rows,).
        before: newest value of each feature in the rows before those, NaN where there is none, (features,).
        expired: whether the newest row is older than the time to live.
        given: values of the newest row that the client gave, by feature.
    """

    entity: Any
    values: Floats
    events: NDArray[np.int64]
    before: Floats
    expired: bool = False
    given: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Replaced:
    """A value that did not come from the store as it is.

    Attributes:
        feature: its name.
        age: rows before the newest one, which has 0.
        status: ``null``, ``missing`` or ``expired``.
        by: the policy that gave the value.
        value: what the model read.
    """

    feature: str
    age: int
    status: str
    by: MissingPolicy
    value: float

    def to_wire(self) -> dict[str, Any]:
        """As an answer tells it."""
        return {
            "feature": self.feature,
            "age": self.age,
            "status": self.status,
            "replaced_by": self.by,
            "value": self.value,
        }


def complete(
    known: Known,
    features: Sequence[str],
    window: int,
    *,
    policy: MissingPolicy,
    defaults: Mapping[str, float],
) -> tuple[Floats, list[Replaced]]:
    """The window that the model reads, and which of its values were replaced.

    Args:
        known: what the store knows of the entity.
        features: names of the columns.
        window: rows that the model reads.
        policy: ``reject`` refuses; ``default`` puts each feature's default; ``last`` takes the newest value
            that the feature had before, and an expired row as it is.
        defaults: value of each feature for the policy ``default``.

    Returns:
        Values without NaN, (window, features), and what was replaced, feature by feature.

    Raises:
        UnknownEntityError: nothing is known of the entity, and the policy is not ``default``.
        MissingFeaturesError: a value is missing, and the policy rejects that or has none for it.
    """
    rows = len(known.values)
    if rows == 0 and not known.given and policy != "default":
        raise UnknownEntityError(
            f"nothing is known of the entity {known.entity!r}; write or materialize its features"
        )
    values = np.full((window, len(features)), np.nan)
    values[window - rows :] = known.values
    status = _status(values, rows, expired=known.expired)
    for name, value in known.given.items():
        column = features.index(name)
        values[-1, column], status[-1, column] = value, ""
    problems = status != ""
    if not problems.any():
        return values, []
    if policy == "reject":
        raise MissingFeaturesError(_told(known, status, features))
    filled = _defaults(values, features, defaults) if policy == "default" else _last(values, known.before)
    # A row that is too old holds the last values there are.
    replace = problems if policy == "default" else np.isnan(values)
    values = np.where(replace, filled, values)
    left = np.isnan(values)
    if left.any():
        told = _told(known, np.where(left, status, ""), features)
        raise MissingFeaturesError(f'{told}; the policy "{policy}" has no value for that')
    places = [(int(row), int(column)) for column, row in np.argwhere(problems.T)]
    return values, [
        Replaced(
            features[column], window - 1 - row, str(status[row, column]), policy, float(values[row, column])
        )
        for row, column in places
    ]


def _status(values: Floats, rows: int, *, expired: bool) -> NDArray[Any]:
    """What is wrong with each value; empty where nothing is."""
    status = np.where(np.isnan(values), "null", "").astype("<U8")
    status[: len(values) - rows] = "missing"
    if expired and rows:
        status[-1] = np.where(status[-1] == "", "expired", status[-1])
    return status


def _defaults(values: Floats, features: Sequence[str], defaults: Mapping[str, float]) -> Floats:
    row = np.array([defaults.get(name, np.nan) for name in features], np.float64)
    return np.broadcast_to(row, values.shape)


def _last(values: Floats, before: Floats) -> Floats:
    """Each value, or the newest one before it in its column, (window, features)."""
    filled = np.vstack([before, values])
    places = np.where(np.isnan(filled), 0, np.arange(len(filled))[:, None])
    np.maximum.accumulate(places, axis=0, out=places)
    return filled[places, np.arange(filled.shape[1])][1:]


def _told(known: Known, status: NDArray[Any], features: Sequence[str]) -> str:
    found = [
        f"{name} is {'/'.join(sorted(set(column[column != ''].tolist())))}"
        for name, column in zip(features, status.T, strict=True)
        if (column != "").any()
    ]
    more = f" and {len(found) - NAMES_TOLD} more" if len(found) > NAMES_TOLD else ""
    rows = "" if len(status) == len(known.values) else f", with {len(known.values)} of {len(status)} rows"
    return f"entity {known.entity!r}{rows}: {', '.join(found[:NAMES_TOLD])}{more}"
