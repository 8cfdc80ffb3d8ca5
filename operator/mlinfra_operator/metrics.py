"""Metric values as a status holds them. Pure."""

import math
from collections.abc import Mapping

from mlinfra.resources.training_job_status import Metric

MAX_METRICS = 256
MAX_NAME_LENGTH = 250
SIGNIFICANT_DIGITS = 6
ORDINARY_EXPONENTS = range(-6, 15)
"""Of ten: values beyond are written with an exponent."""


def decimal(value: float) -> str:
    """A metric's value for people: at most six significant digits, but all digits before the point."""
    if not math.isfinite(value):
        return repr(float(value))
    exponent = int(f"{value:.{SIGNIFICANT_DIGITS - 1}e}".partition("e")[2])
    if exponent not in ORDINARY_EXPONENTS:
        return f"{value:.{SIGNIFICANT_DIGITS}g}"
    # Adding zero takes the sign off a negative one.
    text = f"{value + 0.0:.{max(0, SIGNIFICANT_DIGITS - 1 - exponent)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def metric_list(metrics: Mapping[str, float]) -> list[Metric]:
    """Metrics sorted by name, and no more than a status may hold."""
    named = sorted(item for item in metrics.items() if len(item[0]) <= MAX_NAME_LENGTH)
    return [Metric(name=name, value=decimal(value)) for name, value in named[:MAX_METRICS]]
