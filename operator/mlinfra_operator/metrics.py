"""Metric values as a status holds them. Pure."""

from collections.abc import Mapping

from mlinfra.resources.training_job_status import Metric

MAX_METRICS = 256
MAX_NAME_LENGTH = 250


def decimal(value: float) -> str:
    """A metric's value as the shortest decimal that reads back as the same number."""
    return repr(float(value))


def metric_list(metrics: Mapping[str, float]) -> list[Metric]:
    """Metrics sorted by name, and no more than a status may hold."""
    named = sorted(item for item in metrics.items() if len(item[0]) <= MAX_NAME_LENGTH)
    return [Metric(name=name, value=decimal(value)) for name, value in named[:MAX_METRICS]]
