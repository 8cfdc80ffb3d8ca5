"""Additive sums of a regressor's answers against what was right."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlinfra.monitoring.moments import NOTHING, Moments

LARGEST = 1e70
"""A value beyond it, in units of the scale, has no finite fourth power, and counts as this one."""


@dataclass(frozen=True, slots=True)
class ValueScale:
    """What a label's sums are counted from and in, so that their rounding does not depend on its unit.

    Attributes:
        centre: near the label's mean.
        unit: a power of two near the label's standard deviation.
    """

    centre: float
    unit: float

    @classmethod
    def of(cls, label: NDArray[np.float64]) -> "ValueScale":
        """That of held-out labels, finite, (rows,)."""
        centre, deviation = float(label.mean()), float(label.std())
        varies = deviation > 1e-12 * abs(centre)
        return cls(centre, unit=2.0 ** math.floor(math.log2(deviation)) if varies else 1.0)

    def to_wire(self) -> dict[str, float]:
        """As JSON."""
        return {"centre": self.centre, "unit": self.unit}

    @classmethod
    def of_wire(cls, wire: Mapping[str, Any]) -> "ValueScale":
        """What `to_wire` gave."""
        return cls(centre=float(wire["centre"]), unit=float(wire["unit"]))


@dataclass(frozen=True, slots=True)
class ValueTally:
    """Answers of a regressor, in units of its `ValueScale`.

    Attributes:
        rows: how many answers.
        error: of predicted minus right.
        absolute: of its magnitude.
        square: of its square.
        label: of what was right, from the scale's centre.
    """

    rows: int = 0
    error: Moments = NOTHING
    absolute: Moments = NOTHING
    square: Moments = NOTHING
    label: Moments = NOTHING

    def __add__(self, other: "ValueTally") -> "ValueTally":
        return ValueTally(
            rows=self.rows + other.rows,
            error=self.error + other.error,
            absolute=self.absolute + other.absolute,
            square=self.square + other.square,
            label=self.label + other.label,
        )

    def to_wire(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "rows": self.rows,
            "error": self.error.to_wire(),
            "absolute": self.absolute.to_wire(),
            "square": self.square.to_wire(),
            "label": self.label.to_wire(),
        }

    @classmethod
    def of_wire(cls, wire: Mapping[str, Any]) -> "ValueTally":
        """What `to_wire` gave."""
        return cls(
            rows=int(wire["rows"]),
            error=Moments.of_wire(wire["error"]),
            absolute=Moments.of_wire(wire["absolute"]),
            square=Moments.of_wire(wire["square"]),
            label=Moments.of_wire(wire["label"]),
        )


def tally_values(
    values: NDArray[np.floating[Any]], label: NDArray[np.float64], scale: ValueScale
) -> ValueTally:
    """Count answers whose right value is known.

    Args:
        values: predicted, finite, (rows,).
        label: right, finite, (rows,).
        scale: what the sums are counted in.
    """
    error = np.clip((values.astype(np.float64) - label) / scale.unit, -LARGEST, LARGEST)
    right = np.clip((label - scale.centre) / scale.unit, -LARGEST, LARGEST)
    return ValueTally(
        rows=len(label),
        error=Moments.of(error),
        absolute=Moments.of(np.abs(error)),
        square=Moments.of(np.square(error)),
        label=Moments.of(right),
    )
