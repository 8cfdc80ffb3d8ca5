"""A measure with what is not known of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

WITHOUT_BOUND = frozenset({"log_loss", "mae", "rmse"})
"""Measures in a unit of their own: a loss of them is a share of what they were."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A measure over the rows of a window.

    Attributes:
        value: the measure.
        error: its standard error: how far it varies from window to window although nothing changed.
        resolution: how far it may be off at most because counters do not keep single values.
    """

    value: float
    error: float
    resolution: float = 0.0

    def to_wire(self) -> dict[str, float]:
        """As JSON."""
        return {"value": self.value, "error": self.error, "resolution": self.resolution}

    @classmethod
    def of_wire(cls, wire: Mapping[str, Any]) -> "Measured":
        """What `to_wire` gave."""
        return cls(float(wire["value"]), float(wire["error"]), float(wire["resolution"]))
