"""Counts of rows that a model was asked about, beside one reference profile. They add up."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlinfra.monitoring.class_tally import ClassTally
from mlinfra.monitoring.references import Cells
from mlinfra.monitoring.value_tally import ValueTally

Tally = ClassTally | ValueTally


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts over some rows; those of all rows are the sum, however they are cut.

    Attributes:
        rows: how many rows.
        features: rows by cell of each feature, by name.
        prediction: rows by cell of what was answered.
        labelled: how many labels have come.
        label: labels by cell.
        measured: answers against their labels; None before the first label.
        expected: expected counts of a classifier's answers without labels; None where it has no calibration.
        leaves: answers of a regressor by leaf of its `LossTree`; None of a classifier.
    """

    rows: int
    features: Mapping[str, Cells]
    prediction: Cells
    label: Cells
    labelled: int = 0
    measured: Tally | None = None
    expected: ClassTally | None = None
    leaves: Cells | None = None

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            rows=self.rows + other.rows,
            features={name: cells + other.features[name] for name, cells in self.features.items()},
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
        return cls(
            rows=int(wire["rows"]),
            features={str(name): _cells(cells) for name, cells in wire["features"].items()},
            prediction=_cells(wire["prediction"]),
            label=_cells(wire["label"]),
            labelled=int(wire["labelled"]),
            measured=tally.of_wire(measured) if measured is not None else None,
            expected=ClassTally.of_wire(expected) if expected is not None else None,
            leaves=_cells(wire["leaves"]) if "leaves" in wire else None,
        )


def _sum(one: Any, other: Any) -> Any:
    if one is None or other is None:
        return other if one is None else one
    return one + other


def _cells(wire: Any) -> Cells:
    return np.asarray(wire, dtype=np.int64)
