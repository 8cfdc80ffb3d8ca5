"""Counts of rows that a model was asked about, beside one reference profile. They add up."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from mlinfra.monitoring.class_tally import ClassTally
from mlinfra.monitoring.references import Cells
from mlinfra.monitoring.value_tally import ValueTally

Tally = ClassTally | ValueTally


@dataclass(frozen=True, slots=True)
class CellLayout:
    """Where the cells of each feature are among those of all, one feature's after another's.

    Attributes:
        names: of the features.
        sizes: how many cells each has.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]

    def by_name(self, cells: Cells) -> dict[str, Cells]:
        """Those of each feature, as views, (..., its cells), of those of all, (..., cells)."""
        found, low = {}, 0
        for name, size in zip(self.names, self.sizes, strict=True):
            found[name] = cells[..., low : low + size]
            low += size
        return found


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts over some rows; those of all rows are the sum, however they are cut.

    Attributes:
        rows: how many rows.
        layout: of ``cells``.
        cells: rows by cell of all features.
        prediction: rows by cell of what was answered.
        labelled: how many labels have come.
        label: labels by cell.
        measured: answers against their labels; None before the first label.
        expected: expected counts of a classifier's answers without labels; None where it has no calibration.
        leaves: answers of a regressor by leaf of its `LossTree`; None of a classifier.
    """

    rows: int
    layout: CellLayout
    cells: Cells
    prediction: Cells
    label: Cells
    labelled: int = 0
    measured: Tally | None = None
    expected: ClassTally | None = None
    leaves: Cells | None = None

    @property
    def with_features(self) -> int:
        """Of how many rows the features are counted: of some nobody knows them."""
        own = self.layout.sizes[:1]
        return int(self.cells[: own[0]].sum()) if own else self.rows

    @property
    def features(self) -> dict[str, Cells]:
        """Rows by cell of each feature, by name."""
        return self.layout.by_name(self.cells)

    def __add__(self, other: "Counts") -> "Counts":
        if self.layout is not other.layout and self.layout != other.layout:
            raise ValueError("counts beside different profiles do not add up")
        return Counts(
            rows=self.rows + other.rows,
            layout=self.layout,
            cells=self.cells + other.cells,
            prediction=self.prediction + other.prediction,
            label=self.label + other.label,
            labelled=self.labelled + other.labelled,
            measured=_sum(self.measured, other.measured),
            expected=_sum(self.expected, other.expected),
            leaves=_sum(self.leaves, other.leaves),
        )

    def to_wire(self) -> dict[str, Any]:
        """As JSON; what is empty is left out."""
        wire: dict[str, Any] = {
            "rows": self.rows,
            "features": {name: cells.tolist() for name, cells in self.features.items()},
            "prediction": self.prediction.tolist(),
            "label": self.label.tolist(),
            "labelled": self.labelled,
        }
        if self.measured is not None:
            wire["measured"] = self.measured.to_wire()
        if self.expected is not None:
            wire["expected"] = self.expected.to_wire()
        if self.leaves is not None:
            wire["leaves"] = self.leaves.tolist()
        return wire

    @classmethod
    def of_wire(cls, wire: Mapping[str, Any], *, classes: bool) -> "Counts":
        """What `to_wire` gave.

        Args:
            wire: its JSON.
            classes: whether the model tells classes apart.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        tally: type[Tally] = ClassTally if classes else ValueTally
        measured, expected = wire.get("measured"), wire.get("expected")
        features: Mapping[str, list[int]] = wire["features"]
        return cls(
            rows=int(wire["rows"]),
            layout=cell_layout(tuple(features), tuple(map(len, features.values()))),
            cells=_cells([count for cells in features.values() for count in cells]),
            prediction=_cells(wire["prediction"]),
            label=_cells(wire["label"]),
            labelled=int(wire["labelled"]),
            measured=tally.of_wire(measured) if measured is not None else None,
            expected=ClassTally.of_wire(expected) if expected is not None else None,
            leaves=_cells(wire["leaves"]) if "leaves" in wire else None,
        )


@lru_cache(maxsize=64)
def cell_layout(names: tuple[str, ...], sizes: tuple[int, ...]) -> CellLayout:
    """The layout of features; the same one for the same ones, as thousands of chunks share it."""
    return CellLayout(names, sizes)


def _sum(one: Any, other: Any) -> Any:
    if one is None or other is None:
        return other if one is None else one
    return one + other


def _cells(wire: Any) -> Cells:
    return np.asarray(wire, dtype=np.int64)
