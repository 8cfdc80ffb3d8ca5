"""Drift and performance by a real Prometheus that scrapes a real model server."""

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from integration.serving.adder_traffic import MODEL, ROWS, infer, label_at, normal
from integration.serving.conftest import Started
from servers.mlflow_server import free_port
from servers.model_server import ModelServer
from servers.prometheus_server import prometheus_server

from mlinfra.resources.monitoring import DriftPolicy, MonitoringWindow, PerformancePolicy
from mlinfra.resources.monitoring_sources import PrometheusQuery, PrometheusSource
from mlinfra.retraining.prometheus_check import PrometheusCheck, check_prometheus
from mlinfra.retraining.triggers import MonitorOutcome, MonitorResult

SECONDS = 30.0
WINDOW = MonitoringWindow(seconds=2)
NEWEST: dict[str, Any] = {"window": WINDOW, "breached_windows": 2, "of_windows": 2}
DRIFT = DriftPolicy(threshold=0.3, **NEWEST)
PERFORMANCE = PerformancePolicy(metric="mae", threshold=0.5, **NEWEST)
SCORE = 'max(mlinfra_monitoring_drift_score{model="adder", method="PSI"})'
MAE = 'mlinfra_monitoring_performance{model="adder", measure="mae", source="measured"}'
TWO_SERIES = 'vector(1) or label_replace(vector(2), "model", "b", "", "")'
ROWS_COUNTED = 'mlinfra_monitoring_rows{model="adder"}'


@pytest.fixture
def server(start: Started) -> ModelServer:
    return start()


@pytest.fixture
def prometheus(server: ModelServer, tmp_path: Path) -> Iterator[str]:
    with prometheus_server(tmp_path, [server.url.removeprefix("http://")]) as url:
        yield url


def check(url: str, **queries: PrometheusQuery) -> PrometheusCheck:
    source = PrometheusSource(server_address=url, **queries)
    return PrometheusCheck(
        source, DRIFT if "drift" in queries else None, PERFORMANCE if "performance" in queries else None
    )


async def results(asked: PrometheusCheck) -> tuple[MonitorResult, ...]:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await check_prometheus(client, asked, timeout=10, now=datetime.now(UTC))


async def until(asked: PrometheusCheck, *outcomes: str) -> tuple[MonitorResult, ...]:
    """The results once they have these outcomes."""
    deadline = time.monotonic() + SECONDS
    while True:
        found = await results(asked)
        if [each.outcome for each in found] == list(outcomes):
            return found
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.1)


def traffic(server: ModelServer, *, seed: int, mean: float, off: float, hour: int) -> dict[str, Any]:
    """Predictions and labels, and what the server's own monitors say of them: its gauges change."""
    values = infer(server, normal(ROWS, seed, mean=mean), id=f"{hour}", hour=hour)
    label_at(f"{server.url}{MODEL}", f"{hour}", values, off=off)
    window = {"window": {"rows": ROWS}, "ofWindows": 1, "breachedWindows": 1}
    policies = {"drift": {"threshold": 0.3, **window}, "performance": {"metric": "mae", **window}}
    report: dict[str, Any] = httpx.post(f"{server.url}{MODEL}/monitoring", json=policies, timeout=30).json()
    return report


async def test_scores_that_prometheus_scraped_are_judged(server: ModelServer, prometheus: str) -> None:
    counted = PrometheusQuery(query=SCORE, samples_query=ROWS_COUNTED)
    both = check(prometheus, drift=counted, performance=PrometheusQuery(query=MAE))
    nothing = await results(both)
    assert [each.outcome for each in nothing] == [MonitorOutcome.INCONCLUSIVE] * 2
    traffic(server, seed=3, mean=0.0, off=0.1, hour=0)
    await until(both, "ok", "ok")
    report = traffic(server, seed=4, mean=3.0, off=2.0, hour=1)
    drift, performance = await until(both, "breached", "breached")
    worst = report["drift"]["result"]
    assert (drift.score, drift.threshold, drift.samples) == (worst["score"], 0.3, 2 * ROWS)
    assert performance.score == report["performance"]["result"]["score"]
    assert SCORE in drift.message
    for each in (drift, performance):
        assert each.window_start is not None
        assert (each.window_end - each.window_start).total_seconds() == 4


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("max(", "HTTP 400"),
        (
            "vector(1) or label_replace(vector(2), 'model', 'b', '', '')",
            "gives 2 series, such as {} and {model=",
        ),
        ("'text'", "HTTP 400"),
    ],
)
async def test_a_query_that_tells_no_number_is_an_error(prometheus: str, query: str, problem: str) -> None:
    (drift,) = await results(check(prometheus, drift=PrometheusQuery(query=query)))
    assert drift.outcome is MonitorOutcome.ERROR
    assert problem in drift.message


async def test_numbers_that_are_none_are_inconclusive(prometheus: str) -> None:
    (drift,) = await results(check(prometheus, drift=PrometheusQuery(query="vector(0) / 0")))
    assert (drift.outcome, drift.score) == (MonitorOutcome.INCONCLUSIVE, None)


async def test_a_prometheus_that_is_away_is_an_error() -> None:
    asked = check(f"http://127.0.0.1:{free_port()}", drift=PrometheusQuery(query="up"))
    (drift,) = await results(asked)
    assert drift.outcome is MonitorOutcome.ERROR
    assert drift.message.startswith(asked.source.server_address)
