"""Windows over rows that come in batches: the last rows of each entity are carried from one to the next."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlinfra.features.errors import InvalidFeatures
from mlinfra.serving.settings import MissingPolicy
from mlinfra.training.samples import window_ends, windows_ending_at

Floats = NDArray[np.float64]
Int64s = NDArray[np.int64]
EARLIEST = np.iinfo(np.int64).min


class WindowStream:
    """Gives the window of each row that has a whole one; of one thread.

    Memory holds one batch, and for each entity the rows of one window.

    Args:
        features: names of the columns.
        window: rows in a window.
        policy: what is done about a value that is missing: ``reject``; ``default`` puts the feature's
            default; ``last`` takes the newest value of the entity before it.
        defaults: value of each feature for the policy ``default``.
    """

    def __init__(
        self,
        features: Sequence[str],
        window: int,
        *,
        policy: MissingPolicy = "reject",
        defaults: Mapping[str, float] | None = None,
    ) -> None:
        self._features = features
        self._window = window
        self._policy = policy
        self._defaults = np.array([(defaults or {}).get(name, np.nan) for name in features])
        self._ordered = window > 1 or policy == "last"
        self._carried: dict[Any, tuple[int, Floats]] = {}

    def add(
        self, entities: Sequence[Any], times: Int64s | None, values: Floats
    ) -> tuple[Int64s, NDArray[np.float32]]:
        """The rows of a batch that have a whole window, in their order, and the windows.

        Args:
            entities: key of each row.
            times: event time of each, rising for each entity over all batches where their order counts: in
                windows of several rows, and for the policy ``last``; None where rows have none.
            values: (rows, features); NaN is missing.

        Returns:
            Positions in the batch, (whole,), and windows, (whole, window, features).

        Raises:
            InvalidFeatures: rows are not in order, or a value is missing that the policy has none for.
        """
        found, code = np.unique(np.asarray(entities, dtype=object).astype(str), return_inverse=True)
        order = np.argsort(code, kind="stable")
        starts = np.searchsorted(code[order], np.arange(len(found) + 1))
        joined: list[Floats] = []
        owner: list[Int64s] = []
        source: list[Int64s] = []
        for number, key in enumerate(found.tolist()):
            rows = order[starts[number] : starts[number + 1]]
            own_times = times[rows] if times is not None and self._ordered else None
            before, own = self._of_entity(key, own_times, values[rows])
            joined += [before, own]
            owner.append(np.full(len(before) + len(own), number, np.int64))
            source += [np.full(len(before), -1, np.int64), rows]
        table, position = np.concatenate(joined), np.concatenate(source)
        ends = window_ends(np.concatenate(owner), self._window)
        ends = ends[position[ends] >= 0]
        ends = ends[np.argsort(position[ends], kind="stable")]
        self._refuse_missing(table, entities, position)
        with np.errstate(over="ignore"):
            narrow = table.astype(np.float32)
        self._refuse_infinite(narrow, entities, position)
        return position[ends], windows_ending_at(narrow, ends, self._window)

    def _of_entity(self, key: str, times: Int64s | None, values: Floats) -> tuple[Floats, Floats]:
        """Rows of an entity that are carried, and its new ones with missing values replaced."""
        width = len(self._features)
        newest, before = self._carried.get(key, (EARLIEST, np.empty((0, width))))
        if times is not None:
            steps = np.diff(times, prepend=newest)
            if newest == EARLIEST:
                steps[0] = 1
            if (steps <= 0).any():
                late = int((steps <= 0).argmax())
                moment = np.datetime64(int(times[late]), "ns").astype("datetime64[s]")
                raise InvalidFeatures(
                    f"the rows of entity {key!r} are not in order of time: {moment} is not later than the "
                    "row before it; sort them, and keep one row a time"
                )
            newest = int(times[-1])
        own = self._completed(before, values)
        if self._ordered:
            # One row more than a window looks back: the policy "last" needs a row also where the window is 1.
            self._carried[key] = (newest, np.vstack([before, own])[-max(self._window - 1, 1) :])
        return before, own

    def _completed(self, before: Floats, values: Floats) -> Floats:
        if self._policy == "default":
            return np.where(np.isnan(values), self._defaults, values)
        if self._policy == "last" and np.isnan(values).any():
            filled = np.vstack([before[-1:], values]) if len(before) else values
            places = np.where(np.isnan(filled), 0, np.arange(len(filled))[:, None])
            np.maximum.accumulate(places, axis=0, out=places)
            return filled[places, np.arange(filled.shape[1])][len(filled) - len(values) :]
        return values

    def _refuse_missing(self, table: Floats, entities: Sequence[Any], position: Int64s) -> None:
        missing = np.isnan(table)
        if missing.any():
            row, column = (int(axis[0]) for axis in np.nonzero(missing))
            remedy = {
                "reject": "fill them, or choose the policy default or last",
                "default": "give the feature a default",
                "last": "the entity has no earlier value",
            }[self._policy]
            raise InvalidFeatures(
                f"feature {self._features[column]!r} has no value in {int(missing[:, column].sum())} rows, "
                f"first of entity {entities[int(position[row])]!r}; {remedy}"
            )

    def _refuse_infinite(self, table: NDArray[np.float32], entities: Sequence[Any], position: Int64s) -> None:
        bad = ~np.isfinite(table)
        if bad.any():
            row, column = (int(axis[0]) for axis in np.nonzero(bad))
            raise InvalidFeatures(
                f"feature {self._features[column]!r} is infinite or beyond 32-bit numbers in "
                f"{int(bad[:, column].sum())} rows, first of entity {entities[int(position[row])]!r}"
            )
