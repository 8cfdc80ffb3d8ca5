"""Windows over rows, and which of them train, validate and test.

A sample is a row with its label and the rows before it, ``window`` in all and of the same entity. A
held-out sample may look back at older rows, as it will when served; no training sample, and no label
within the embargo, reaches into a held-out part.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlinfra.resources.built_in_training import Validation
from mlinfra.training.errors import TooFewRowsError
from mlinfra.training.rows import LabelledRows
from mlinfra.training.split import Split, walk_forward_splits

Indices = NDArray[np.int64]

FOLDS = 5
"""Of walk-forward validation, where nobody says how many."""


@dataclass(frozen=True, slots=True)
class Part:
    """Samples of one part of the split.

    Attributes:
        last_rows: index of the newest row of each sample, whose label is learnt, (samples,).
        first_time: time of the oldest row that carries a label of this part.
        last_time: time of the newest.
    """

    last_rows: Indices
    first_time: np.datetime64
    last_time: np.datetime64

    @property
    def period(self) -> str:
        """First and last date, as ISO 8601 writes an interval."""
        return f"{self.first_time.astype('datetime64[D]')}/{self.last_time.astype('datetime64[D]')}"


@dataclass(frozen=True, slots=True)
class Samples:
    """All samples of a training.

    Attributes:
        mean: mean of each feature over the rows of the training part, (features,).
        scale: standard deviation of each over the same rows; 1 where a feature is constant, (features,).
    """

    rows: LabelledRows
    window: int
    train: Part
    validation: Part
    test: Part
    mean: NDArray[np.float32]
    scale: NDArray[np.float32]

    def parts(self) -> dict[str, Part]:
        """The parts by name, oldest first."""
        return {"train": self.train, "validation": self.validation, "test": self.test}

    def periods(self) -> dict[str, str]:
        """First and last date of each part."""
        return {name: part.period for name, part in self.parts().items()}

    def windows(self, last_rows: Indices) -> NDArray[np.float32]:
        """A copy of the windows that end at rows, (len(last_rows), window, features)."""
        return windows_ending_at(self.rows.features, last_rows, self.window)


def windows_ending_at(features: NDArray[np.float32], last_rows: Indices, window: int) -> NDArray[np.float32]:
    """A copy of the windows that end at rows, (len(last_rows), window, features).

    Args:
        features: rows in order, (rows, features).
        last_rows: index of the newest row of each window, at least ``window - 1``.
        window: rows in a window.
    """
    offsets = np.arange(window) - (window - 1)
    windows: NDArray[np.float32] = features[last_rows[:, None] + offsets]
    return windows


def window_ends(entity: Indices, window: int) -> Indices:
    """Indices of the rows at which a whole window of one entity ends.

    Args:
        entity: number of each row's entity, rows of one entity next to each other, (rows,).
        window: rows in a window.
    """
    last = np.arange(window - 1, len(entity))
    ends: Indices = last[entity[last] == entity[last - (window - 1)]] if len(last) else last
    return ends


def make_folds(rows: LabelledRows, validation: Validation, *, window: int) -> tuple[Samples, ...]:
    """Split rows in time and find the windows of each part, for each fold, oldest first; hold-out is one.

    Raises:
        TooFewRowsError: a part has no whole window.
    """
    times, time_position = np.unique(rows.time, return_inverse=True)
    walks = validation.strategy == "WalkForward"
    splits = walk_forward_splits(
        len(times),
        folds=(validation.folds or FOLDS) if walks else 1,
        validation_fraction=validation.validation_fraction,
        test_fraction=validation.test_fraction,
        embargo=validation.embargo,
        sliding=validation.window == "Sliding",
        window_size=validation.window_size,
    )
    ends = window_ends(rows.entity, window)
    return tuple(_samples(rows, split, time_position, ends, window=window) for split in splits)


def make_samples(rows: LabelledRows, validation: Validation, *, window: int) -> Samples:
    """The newest fold of `make_folds`."""
    return make_folds(rows, validation, window=window)[-1]


def feature_statistics(features: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation of each column; 1 as the deviation of a constant one."""
    wide = features.astype(np.float64)
    mean, deviation = wide.mean(axis=0), wide.std(axis=0)
    # What rounding leaves of a constant column is no spread to divide by.
    constant = deviation <= 1e-7 * np.maximum(np.abs(mean), np.finfo(np.float32).tiny)
    return mean.astype(np.float32), np.where(constant, 1.0, deviation).astype(np.float32)


def _within(positions: Indices, part: range) -> NDArray[np.bool_]:
    return (positions >= part.start) & (positions < part.stop)


def _samples(
    rows: LabelledRows, split: Split, time_position: Indices, ends: Indices, *, window: int
) -> Samples:
    parts = {
        name: _part(rows, ends[_within(time_position[ends], positions)], name=name, window=window)
        for name, positions in split.parts().items()
    }
    mean, scale = feature_statistics(rows.features[_within(time_position, split.train)])
    return Samples(rows=rows, window=window, mean=mean, scale=scale, **parts)


def _part(rows: LabelledRows, last_rows: Indices, *, name: str, window: int) -> Part:
    if len(last_rows) == 0:
        raise TooFewRowsError(
            f"{len(rows.time)} rows hold no whole window of {window} rows in the {name} part. Give a longer "
            "date range or a shorter windowLength."
        )
    times = rows.time[last_rows]
    return Part(last_rows=last_rows, first_time=times.min(), last_time=times.max())
