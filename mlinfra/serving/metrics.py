"""What the server tells Prometheus."""

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

from mlinfra.monitoring.gauges import MonitoringGauges

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class ServingMetrics:
    """Counters of one server, in a registry of its own."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self.requests = Counter(
            "mlinfra_serving_requests", "Requests answered.", ("route", "code"), registry=registry
        )
        self.request_seconds = Histogram(
            "mlinfra_serving_request_duration_seconds",
            "From a request's head to its answer.",
            ("route",),
            buckets=SECONDS,
            registry=registry,
        )
        self.batch_seconds = Histogram(
            "mlinfra_serving_inference_duration_seconds",
            "Time in the model, for each batch.",
            buckets=SECONDS,
            registry=registry,
        )
        self.batch_rows = Histogram(
            "mlinfra_serving_batch_size_rows", "Rows computed at once.", buckets=ROWS, registry=registry
        )
        self.predictions = Counter(
            "mlinfra_serving_predictions", "Rows predicted.", ("model", "version"), registry=registry
        )
        self.swaps = Counter(
            "mlinfra_serving_model_swaps", "Swaps of the model.", ("outcome",), registry=registry
        )
        self.log_rows = Counter(
            "mlinfra_serving_prediction_log_rows",
            "Predictions by what became of them in the log.",
            ("outcome",),
            registry=registry,
        )
        self.labels = Counter(
            "mlinfra_serving_feedback_labels",
            "Labels by what became of them.",
            ("outcome",),
            registry=registry,
        )
        self.replaced = Counter(
            "mlinfra_serving_replaced_features",
            "Features that were missing or too old, by what took their place.",
            ("feature", "status"),
            registry=registry,
        )
        self._info = Gauge(
            "mlinfra_serving_model_info",
            "1 for the model that is served.",
            ("model", "version", "digest"),
            registry=registry,
        )
        self._depth = Gauge(
            "mlinfra_serving_queue_requests", "Requests that wait for the model.", registry=registry
        )
        self.ready = Gauge("mlinfra_serving_ready", "Whether the server is ready.", registry=registry)
        self.monitoring = MonitoringGauges()
        registry.register(self.monitoring)

    def follow_depth(self, depth: Callable[[], float]) -> None:
        """Tell how many requests wait whenever it is asked."""
        self._depth.set_function(depth)

    def serves(self, model: str, version: str, digest: str) -> None:
        """Tell which model is served."""
        self._info.clear()
        self._info.labels(model, version, digest).set(1)
        self.monitoring.serves(model, version)

    def on_batch(self, rows: int, seconds: float) -> None:
        """Count a batch."""
        self.batch_rows.observe(rows)
        self.batch_seconds.observe(seconds)

    def text(self) -> bytes:
        """All of them, in Prometheus' text format."""
        return generate_latest(self.registry)
