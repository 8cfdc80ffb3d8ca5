"""What the operator tells Prometheus, named by its conventions and those of Kubernetes' controllers."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, Histogram, start_http_server
from prometheus_client import Counter as PrometheusCounter
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from mlinfra import __version__
from mlinfra_operator.runtime.cache import Object
from mlinfra_operator.settings import METRICS_ADDRESS_ENV, SettingsError

RECONCILE_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
FIRST_POD_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600, 21600)
UNKNOWN_PHASE = "Pending"
"""Of an object that the operator has not looked at yet."""


class OperatorMetrics:
    """The operator's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._durations = Histogram(
            "mlinfra_reconcile_duration_seconds",
            "Time that one look at an object took.",
            ["kind"],
            buckets=RECONCILE_BUCKETS,
            registry=self.registry,
        )
        self._errors = PrometheusCounter(
            "mlinfra_reconcile_errors",
            "Looks at an object that ended in an unexpected error and are tried again.",
            ["kind"],
            registry=self.registry,
        )
        self._first_pod = Histogram(
            "mlinfra_trainingjob_first_pod_delay_seconds",
            "From the creation of a TrainingJob until its first pod ran.",
            buckets=FIRST_POD_BUCKETS,
            registry=self.registry,
        )

    @contextmanager
    def reconciling(self, kind: str, expected: type[BaseException]) -> Iterator[None]:
        """Time a look at an object; an error that is not ``expected`` counts."""
        started = time.perf_counter()
        try:
            yield
        except expected:
            raise
        except Exception:
            self._errors.labels(kind).inc()
            raise
        finally:
            self._durations.labels(kind).observe(time.perf_counter() - started)

    def first_pod(self, job: Object, started: datetime) -> None:
        """A TrainingJob whose status tells of its start for the first time."""
        created = datetime.fromisoformat(job["metadata"]["creationTimestamp"])
        delay = (started - created).total_seconds()
        self._first_pod.observe(max(0.0, delay))

    def observe(self, state: "ObservedState") -> None:
        """Tell of the caches and the queue with each scrape."""
        self.registry.register(state)

    def serve(self, address: str) -> WSGIServer:
        """Answer scrapes at ``host:port``, in a thread.

        Raises:
            SettingsError: the address cannot be had.
        """
        host, _, port = address.rpartition(":")
        try:
            server, _ = start_http_server(int(port), addr=host, registry=self.registry)
        except OSError as error:
            raise SettingsError(f"{METRICS_ADDRESS_ENV}: {address} cannot be had: {error}") from error
        return server


class ObservedState(Collector):
    """Objects by phase, and what waits: counted when asked for, from what the operator knows anyway.

    Args:
        kinds: all known objects by the plural of their kind.
        depth: how many keys wait for a worker or have one.
        leads: whether this replica works.
        heard: seconds since the server was last heard, by the resource of the watch.
    """

    def __init__(
        self,
        kinds: Mapping[str, Iterable[Object]],
        *,
        depth: Callable[[], int],
        leads: Callable[[], bool],
        heard: Callable[[], Mapping[str, float]] = dict,
    ) -> None:
        self._kinds = kinds
        self._heard = heard
        self._depth = depth
        self._leads = leads

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauges of this moment."""
        for plural, objects in self._kinds.items():
            yield _by_phase(plural, objects)
        yield _last_trainings(self._kinds.get("retrainingpolicies", ()))
        yield from _monitors(self._kinds.get("retrainingpolicies", ()))
        yield GaugeMetricFamily(
            "mlinfra_workqueue_depth", "Objects that wait for a worker or have one.", value=self._depth()
        )
        yield GaugeMetricFamily(
            "mlinfra_leader", "1 where this replica works, 0 where it stands by.", value=int(self._leads())
        )
        silence = GaugeMetricFamily(
            "mlinfra_watch_silence_seconds",
            "Since the API server was last heard on a watch.",
            labels=["resource"],
        )
        for resource, seconds in sorted(self._heard().items()):
            silence.add_metric([resource], seconds)
        yield silence
        info = GaugeMetricFamily("mlinfra_build_info", "Version of the operator.", labels=["version"])
        info.add_metric([__version__], 1)
        yield info


def _by_phase(plural: str, objects: Iterable[Object]) -> GaugeMetricFamily:
    counts = Counter(
        (obj["metadata"].get("namespace", ""), _status(obj).get("phase") or UNKNOWN_PHASE) for obj in objects
    )
    family = GaugeMetricFamily(f"mlinfra_{plural}", f"{plural} by phase.", labels=["namespace", "phase"])
    for (namespace, phase), count in sorted(counts.items()):
        family.add_metric([namespace, phase], count)
    return family


def _last_trainings(policies: Iterable[Object]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(
        "mlinfra_retrainingpolicy_last_training_timestamp_seconds",
        "When the policy last started a training.",
        labels=["namespace", "name"],
    )
    for policy in policies:
        if (started := _status(policy).get("lastTrainingTime")) is not None:
            metadata = policy["metadata"]
            moment = datetime.fromisoformat(started).timestamp()
            family.add_metric([metadata.get("namespace", ""), metadata["name"]], moment)
    return family


def _monitors(policies: Iterable[Object]) -> Iterator[GaugeMetricFamily]:
    labels = ["namespace", "name", "monitor"]
    prefix = "mlinfra_retrainingpolicy"
    scores = GaugeMetricFamily(f"{prefix}_score", "Last score of drift, or performance.", labels=labels)
    breached = GaugeMetricFamily(
        f"{prefix}_breached", "1 where the last check breached, 0 where it did not.", labels=labels
    )
    breakers = GaugeMetricFamily(
        f"{prefix}_circuit_breaker_open", "1 since a version was rolled back.", labels=labels[:2]
    )
    for policy in policies:
        status, metadata = _status(policy), policy["metadata"]
        names = [metadata.get("namespace", ""), metadata["name"]]
        for monitor in status.get("monitors") or ():
            if monitor.get("score") is not None:
                scores.add_metric([*names, monitor["trigger"]], float(monitor["score"]))
            breached.add_metric([*names, monitor["trigger"]], int(monitor["outcome"] == "breached"))
        if "rollback" in policy.get("spec", {}):
            breakers.add_metric(names, int("circuitBreaker" in status))
    yield from (scores, breached, breakers)


def _status(obj: Object) -> dict[str, Any]:
    return obj.get("status") or {}
