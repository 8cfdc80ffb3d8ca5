"""What a scrape tells, read by Prometheus' own parser."""

import urllib.request
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from mlinfra_operator.runtime.prometheus import ObservedState, OperatorMetrics
from mlinfra_operator.runtime.work_queue import Retry


def obj(name: str, phase: str | None = None, **status: Any) -> dict[str, Any]:
    told = {**status, **({"phase": phase} if phase else {})}
    return {"metadata": {"name": name, "namespace": "team"}, **({"status": told} if told else {})}


def samples(metrics: OperatorMetrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = generate_latest(metrics.registry).decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def observed(**kinds: list[dict[str, Any]]) -> OperatorMetrics:
    metrics = OperatorMetrics()
    metrics.observe(ObservedState(kinds, depth=lambda: 7, leads=lambda: True))
    return metrics


def test_objects_are_counted_by_namespace_and_phase() -> None:
    metrics = observed(trainingjobs=[obj("a", "Running"), obj("b", "Running"), obj("c")])
    told = samples(metrics)
    assert told["mlinfra_trainingjobs", (("namespace", "team"), ("phase", "Running"))] == 2
    assert told["mlinfra_trainingjobs", (("namespace", "team"), ("phase", "Pending"))] == 1
    assert told["mlinfra_workqueue_depth", ()] == 7
    assert told["mlinfra_leader", ()] == 1


def test_a_policys_last_training_is_told_in_seconds() -> None:
    metrics = observed(retrainingpolicies=[obj("p", lastTrainingTime="2026-01-01T00:00:00Z"), obj("never")])
    name = "mlinfra_retrainingpolicy_last_training_timestamp_seconds"
    told = {labels: value for (sample, labels), value in samples(metrics).items() if sample == name}
    assert told == {
        (("name", "p"), ("namespace", "team")): datetime(2026, 1, 1, tzinfo=UTC).timestamp(),
    }


def test_monitors_and_the_circuit_breaker_are_told() -> None:
    monitors = [
        {"trigger": "drift", "outcome": "breached", "score": "0.31"},
        {"trigger": "performance", "outcome": "inconclusive"},
    ]
    watched = obj("p", monitors=monitors, circuitBreaker={"version": "2"}) | {"spec": {"rollback": {}}}
    told = samples(observed(retrainingpolicies=[watched, obj("plain")]))
    drift = (("monitor", "drift"), ("name", "p"), ("namespace", "team"))
    loss = (("monitor", "performance"), *drift[1:])
    prefix = "mlinfra_retrainingpolicy"
    assert told[f"{prefix}_score", drift] == 0.31
    assert (f"{prefix}_score", loss) not in told
    assert (told[f"{prefix}_breached", drift], told[f"{prefix}_breached", loss]) == (1, 0)
    breakers = {labels: value for (name, labels), value in told.items() if name.endswith("breaker_open")}
    assert breakers == {drift[1:]: 1}


def test_errors_count_but_not_what_is_tried_again_on_purpose() -> None:
    metrics = OperatorMetrics()
    with metrics.reconciling("TrainingJob", Retry):
        pass
    with pytest.raises(Retry), metrics.reconciling("TrainingJob", Retry):
        raise Retry
    with pytest.raises(ZeroDivisionError), metrics.reconciling("TrainingJob", Retry):
        raise ZeroDivisionError
    told = samples(metrics)
    labels = (("kind", "TrainingJob"),)
    assert told["mlinfra_reconcile_duration_seconds_count", labels] == 3
    assert told["mlinfra_reconcile_errors_total", labels] == 1


def test_the_delay_of_the_first_pod_is_told() -> None:
    metrics = OperatorMetrics()
    created = datetime(2026, 1, 1, tzinfo=UTC)
    job = {"metadata": {"creationTimestamp": created.isoformat()}}
    metrics.first_pod(job, created + timedelta(seconds=20))
    told = samples(metrics)
    assert told["mlinfra_trainingjob_first_pod_delay_seconds_bucket", (("le", "10.0"),)] == 0
    assert told["mlinfra_trainingjob_first_pod_delay_seconds_bucket", (("le", "30.0"),)] == 1


def test_a_scrape_is_answered_over_http() -> None:
    server = observed(modelversions=[obj("m-1", "Production")]).serve("127.0.0.1:0")
    try:
        url = f"http://127.0.0.1:{server.server_port}/metrics"
        with urllib.request.urlopen(url, timeout=10) as answer:
            text = answer.read().decode()
    finally:
        server.shutdown()
        server.server_close()
    assert 'mlinfra_modelversions{namespace="team",phase="Production"} 1.0' in text
