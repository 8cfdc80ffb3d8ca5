"""Reads rows of a feature group as arrays for training, and refuses what cannot be learnt from."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mlinfra.errors import suggestion
from mlinfra.resources.built_in_training import TrainingData
from mlinfra.training.errors import (
    EmptyDateRangeError,
    InvalidFeatureError,
    InvalidLabelError,
    InvalidRowsError,
    MissingLabelError,
    UnknownFeatureError,
)

MAX_CLASSES = 100
EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class RowKeys:
    """The columns that tell when and whose a row is; without an entity all rows are of one."""

    time: str = "event_timestamp"
    entity: str | None = None

    def columns(self) -> list[str]:
        """The key's columns, the entity first."""
        return [self.time] if self.entity is None else [self.entity, self.time]


@dataclass(frozen=True, slots=True)
class LabelledRows:
    """Rows in order of entity, then time.

    Attributes:
        features: raw values, (rows, features).
        label: index into ``classes``, or a value where the task is regression, (rows,).
        time: event times, UTC without a zone, (rows,).
        entity: number of the entity, ascending, (rows,).
        feature_names: name of each feature.
        classes: value of each class, ascending; none where the task is regression.
    """

    features: NDArray[np.float32]
    label: NDArray[Any]
    time: NDArray[np.datetime64]
    entity: NDArray[np.int64]
    feature_names: tuple[str, ...]
    classes: tuple[Any, ...]


def labelled_rows(frame: pd.DataFrame, data: TrainingData, keys: RowKeys) -> LabelledRows:
    """Check the rows of a feature group and bring them into arrays.

    Features are the named columns, else every numeric column but the label and the keys.

    Args:
        frame: keys, features and label, in any order of rows.
        data: which columns are features and label.
        keys: which columns are the time and the entity.

    Raises:
        InvalidInputError: the subclass tells what is wrong with the rows; the message names column,
            count and first times.
    """
    if frame.empty:
        raise EmptyDateRangeError(f'Feature group "{data.feature_group}" has no rows between the dates.')
    if data.label not in frame.columns:
        known = [str(column) for column in frame.columns]
        raise MissingLabelError(
            f'Feature group "{data.feature_group}" has no column "{data.label}" to learn; '
            f"{suggestion(data.label, known)}."
        )
    names = _feature_names(frame, data, keys)
    _refuse_missing_keys(frame, keys)
    frame = frame.sort_values(keys.columns(), kind="stable")
    _refuse_duplicates(frame, keys)
    _refuse_missing_labels(frame, data, keys)
    classes: tuple[Any, ...] = ()
    if data.task == "Regression":
        label: NDArray[Any] = _values(frame, data, keys)
    else:
        classes, label = _classes(frame, data)
    entity = frame[keys.entity].factorize()[0] if keys.entity else np.zeros(len(frame))
    return LabelledRows(
        features=_feature_values(frame, names, keys),
        label=label,
        time=_utc(frame[keys.time]),
        entity=entity.astype(np.int64),
        feature_names=names,
        classes=classes,
    )


def _feature_names(frame: pd.DataFrame, data: TrainingData, keys: RowKeys) -> tuple[str, ...]:
    numeric = [
        str(column)
        for column in frame.columns
        if pd.api.types.is_numeric_dtype(frame[column]) and column not in (data.label, *keys.columns())
    ]
    if data.features is None:
        if not numeric:
            raise UnknownFeatureError(
                f'Feature group "{data.feature_group}" has no numeric column but the label.'
            )
        return tuple(numeric)
    for name in data.features:
        if name not in frame.columns:
            raise UnknownFeatureError(
                f'Feature group "{data.feature_group}" has no feature "{name}"; {suggestion(name, numeric)}.'
            )
        if name not in numeric:
            raise InvalidFeatureError(
                f'Feature "{name}" of group "{data.feature_group}" holds {frame[name].dtype}, not numbers.'
            )
    return tuple(data.features)


def _refuse_missing_keys(frame: pd.DataFrame, keys: RowKeys) -> None:
    for column in keys.columns():
        if missing := int(frame[column].isna().sum()):
            raise InvalidRowsError(f'Column "{column}" has no value in {missing} of {len(frame)} rows.')


def _refuse_duplicates(frame: pd.DataFrame, keys: RowKeys) -> None:
    again = frame.duplicated(subset=keys.columns()).to_numpy()
    if again.any():
        raise InvalidRowsError(
            f"{again.sum()} rows repeat an earlier one in {' and '.join(keys.columns())}, first at "
            f"{_first_times(frame, again, keys)}. Keep one row each."
        )


def _feature_values(frame: pd.DataFrame, names: tuple[str, ...], keys: RowKeys) -> NDArray[np.float32]:
    values = frame[list(names)].to_numpy(dtype=np.float64, na_value=np.nan)
    limit = np.finfo(np.float32).max
    unusable = ~(np.abs(values) <= limit)
    if unusable.any():
        position = int(unusable.any(axis=0).argmax())
        column = unusable[:, position]
        what = "NaN" if np.isnan(values[column, position]).any() else "infinite or beyond 32-bit numbers"
        others = [name for name, bad in zip(names, unusable.any(axis=0), strict=True) if bad][1:]
        also = f" So have: {', '.join(others)}." if others else ""
        raise InvalidRowsError(
            f'Feature "{names[position]}" is {what} in {column.sum()} of {len(frame)} rows, first at '
            f"{_first_times(frame, column, keys)}.{also} Fill or drop these rows before they are written, "
            "or choose dates without them."
        )
    if len(values) > 1 and not np.ptp(values, axis=0).any():
        raise InvalidFeatureError(
            f"Every feature ({', '.join(names)}) has the same value in all {len(frame)} rows: there is "
            "nothing to learn from. Name other features or a longer date range."
        )
    return values.astype(np.float32)


def _refuse_missing_labels(frame: pd.DataFrame, data: TrainingData, keys: RowKeys) -> None:
    missing = frame[data.label].isna().to_numpy()
    if missing.any():
        raise MissingLabelError(
            f'Label "{data.label}" has no value in {missing.sum()} of {len(frame)} rows, first at '
            f"{_first_times(frame, missing, keys)}. End the dates before them, give them a label, or write "
            "the other rows to another feature group: rows that are stored stay."
        )


def _values(frame: pd.DataFrame, data: TrainingData, keys: RowKeys) -> NDArray[np.float64]:
    label = frame[data.label]
    if not pd.api.types.is_numeric_dtype(label) or pd.api.types.is_bool_dtype(label):
        raise InvalidLabelError(
            f'Label "{data.label}" holds {label.dtype}, and the task Regression learns numbers. '
            "Give the task Classification, or a numeric label."
        )
    values = label.to_numpy(dtype=np.float64)
    unusable = ~(np.abs(values) <= np.finfo(np.float32).max)
    if unusable.any():
        raise InvalidLabelError(
            f'Label "{data.label}" is infinite or beyond 32-bit numbers in {unusable.sum()} of {len(frame)} '
            f"rows, first at {_first_times(frame, unusable, keys)}. Leave these rows out."
        )
    return values


def _classes(frame: pd.DataFrame, data: TrainingData) -> tuple[tuple[Any, ...], NDArray[np.int64]]:
    label = frame[data.label]
    if pd.api.types.is_float_dtype(label) and not np.isfinite(label.to_numpy(dtype=np.float64)).all():
        raise InvalidLabelError(f'Label "{data.label}" holds infinities, which are no class.')
    if pd.api.types.is_float_dtype(label) and not (label == label.round()).all():
        raise InvalidLabelError(
            f'Label "{data.label}" holds fractions such as {label[label != label.round()].iloc[0]}: '
            "classes are whole numbers, booleans or strings. Give the task Regression to learn a value."
        )
    plain = label.astype(np.int64) if pd.api.types.is_float_dtype(label) else label
    values, index = np.unique(plain.to_numpy(), return_inverse=True)
    if len(values) > MAX_CLASSES:
        raise InvalidLabelError(
            f'Label "{data.label}" has {len(values)} different values, more than the {MAX_CLASSES} classes '
            "that a network learns to tell apart. Give the task Regression to learn a value."
        )
    return tuple(value.item() if hasattr(value, "item") else value for value in values), index.astype(
        np.int64
    )


def _utc(time: "pd.Series[Any]") -> NDArray[np.datetime64]:
    if time.dt.tz is not None:
        time = time.dt.tz_convert("UTC").dt.tz_localize(None)
    return time.to_numpy(dtype="datetime64[ns]")


def _first_times(frame: pd.DataFrame, rows: NDArray[np.bool_], keys: RowKeys) -> str:
    times = frame.loc[rows, keys.time].head(EXAMPLES)
    return ", ".join(
        f"{time:%Y-%m-%d}" if time == time.normalize() else f"{time:%Y-%m-%d %H:%M}" for time in times
    )
