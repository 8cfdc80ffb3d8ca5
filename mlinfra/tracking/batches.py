"""What is written to a run: points of metrics, and tags."""

from collections.abc import Mapping
from dataclasses import dataclass, field

MAX_METRICS_IN_BATCH = 800
MAX_TAGS_IN_BATCH = 100


@dataclass(frozen=True, slots=True)
class MetricPoint:
    """One value of one metric; ``timestamp`` in milliseconds since 1970."""

    key: str
    value: float
    timestamp: int
    step: int


@dataclass(frozen=True, slots=True)
class Batch:
    """What one request writes; of a tag that was set several times only the newest value."""

    metrics: tuple[MetricPoint, ...]
    tags: Mapping[str, str] = field(default_factory=dict)
