"""Asks a Prometheus what its values say of a model; no answer is an error, and no reason to train."""

import asyncio
from dataclasses import dataclass
from datetime import datetime

import httpx

from mlinfra.errors import MlinfraError
from mlinfra.resources.monitoring import DriftPolicy, PerformancePolicy
from mlinfra.resources.monitoring_sources import PrometheusQuery, PrometheusSource
from mlinfra.retraining.json_answers import ask_json
from mlinfra.retraining.prometheus_values import Values, judge_values, read_values, window_ends
from mlinfra.retraining.triggers import MonitorOutcome, MonitorResult, RetrainingTrigger

PATH = "/api/v1/query_range"


@dataclass(frozen=True, slots=True)
class PrometheusCheck:
    """What to ask, and the policies to compare the values with.

    Attributes:
        source: whom, with a query for each policy that is here.
        drift, performance: each with a threshold and windows of seconds; None where it is not watched.
    """

    source: PrometheusSource
    drift: DriftPolicy | None
    performance: PerformancePolicy | None


async def check_prometheus(
    client: httpx.AsyncClient, check: PrometheusCheck, *, timeout: float, now: datetime
) -> tuple[MonitorResult, ...]:
    """What the values say of each monitor.

    Args:
        client: to ask with.
        check: what is asked.
        timeout: seconds for each query.
        now: until when values are asked for, and the time of a result that is an error.
    """
    source = check.source
    asked = (
        (RetrainingTrigger.DRIFT, source.drift, check.drift),
        (RetrainingTrigger.PERFORMANCE, source.performance, check.performance),
    )
    return tuple(
        await asyncio.gather(
            *(
                _result(client, source.server_address, trigger, query, policy, timeout=timeout, now=now)
                for trigger, query, policy in asked
                if query is not None and policy is not None
            )
        )
    )


async def _result(
    client: httpx.AsyncClient,
    address: str,
    trigger: RetrainingTrigger,
    query: PrometheusQuery,
    policy: DriftPolicy | PerformancePolicy,
    *,
    timeout: float,
    now: datetime,
) -> MonitorResult:
    ends = window_ends(policy, now)
    try:
        values = await _values(client, address, query.query, ends, timeout)
        samples = None
        if query.samples_query is not None:
            samples = await _values(client, address, query.samples_query, ends, timeout)
    except MlinfraError as error:
        return MonitorResult(trigger, MonitorOutcome.ERROR, now, message=str(error))
    return judge_values(query, policy, ends, values, samples)


async def _values(client: httpx.AsyncClient, address: str, query: str, ends: range, timeout: float) -> Values:
    asked = {
        "query": query,
        "start": ends[0],
        "end": ends[-1],
        "step": ends.step,
        "timeout": f"{timeout:g}",
    }
    answer = await ask_json(client, "GET", address.rstrip("/"), PATH, timeout=timeout, params=asked)
    return read_values(answer, query)
