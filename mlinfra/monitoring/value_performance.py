"""Measures of a regressor from its sums, each with its standard error. Pure.

The measures have the names and meanings of `mlinfra.training.measures.value_measures` and are equal to it.
"""

import numpy as np

from mlinfra.monitoring.measured import Measured
from mlinfra.monitoring.value_tally import ValueScale, ValueTally

CONSTANT = 1e-11
"""A variance of the label below it, relative to the scale's, is rounding."""


def value_performance(tally: ValueTally, scale: ValueScale) -> dict[str, Measured]:
    """Measures of at least one answer, by name; ``r2`` only where the label varies.

    Standard errors of ``rmse`` and ``r2`` are those of the delta method; for ``r2`` the variance of the label
    is taken as known.
    """
    rows = tally.rows
    if rows == 0:
        return {}
    unit = scale.unit
    square = tally.square.mean(rows)
    root = float(np.sqrt(square))
    square_error = float(np.sqrt(tally.square.variance(rows) / rows))
    measures = {
        "mae": Measured(
            unit * tally.absolute.mean(rows), unit * float(np.sqrt(tally.absolute.variance(rows) / rows))
        ),
        "rmse": Measured(unit * root, unit * (square_error / (2 * root) if root > 0 else 0.0)),
        "bias": Measured(
            unit * tally.error.mean(rows), unit * float(np.sqrt(tally.error.variance(rows) / rows))
        ),
    }
    spread = tally.label.variance(rows)
    if spread > CONSTANT:
        measures["r2"] = Measured(1.0 - square / spread, square_error / spread)
    return measures
