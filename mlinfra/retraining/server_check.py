"""Asks a model's server what its monitors say; what is not answered is an error, and no reason to train."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any
from urllib.parse import quote

import httpx

from mlinfra.resources.monitoring import DriftPolicy, PerformancePolicy
from mlinfra.retraining.assessment import performance_to_check
from mlinfra.retraining.json_answers import UnansweredError, ask_json
from mlinfra.retraining.observation import MONITORS
from mlinfra.retraining.triggers import (
    InvalidMonitorResultError,
    MonitorOutcome,
    MonitorResult,
    RetrainingTrigger,
)

CheckBody = Mapping[str, Any]
"""The policies to check by, under ``drift`` and ``performance``, as JSON."""


def check_body(drift: DriftPolicy | None, performance: PerformancePolicy | None) -> CheckBody:
    """What to ask where these are watched; empty where nothing is."""
    checks = {"drift": drift, "performance": performance_to_check(drift, performance)}
    return {name: check.to_wire() for name, check in checks.items() if check is not None}


async def check_server(
    client: httpx.AsyncClient,
    address: str,
    model: str,
    body: CheckBody,
    *,
    timeout: float,
    now: datetime,
    token: str | None = None,
) -> tuple[MonitorResult, ...]:
    """What the server at ``address``, such as ``http://model:8080``, says of each monitor that is asked for.

    Args:
        client: to ask with.
        address, model: whom, and of which model.
        body: what is asked.
        timeout: seconds.
        now: the time of a result that is an error.
        token: bearer token that is sent; none where absent.
    """
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    path = f"/v2/models/{quote(model, safe='')}/monitoring"
    try:
        report = await ask_json(
            client, "POST", address, path, timeout=timeout, json=dict(body), headers=headers
        )
    except UnansweredError as error:
        return failures_of(body, str(error), now=now)
    return results_of(body, report, now=now)


def results_of(body: CheckBody, report: object, *, now: datetime) -> tuple[MonitorResult, ...]:
    """What a server's report says of each monitor that was asked for.

    A part of it that cannot be read is an error of its monitor.
    """
    found = report if isinstance(report, Mapping) else {}
    results = []
    for trigger in _asked(body):
        part = found.get(trigger.value)
        try:
            result = MonitorResult.of_wire(part.get("result", part) if isinstance(part, Mapping) else part)
        except InvalidMonitorResultError as error:
            results.append(_failed(trigger, f"the server's answer cannot be read: {error}", now=now))
            continue
        # A server that confuses its monitors must not make drift of a loss of performance.
        results.append(replace(result, trigger=trigger))
    return tuple(results)


def failures_of(body: CheckBody, message: str, *, now: datetime) -> tuple[MonitorResult, ...]:
    """The results of a check that was not answered."""
    return tuple(_failed(trigger, message, now=now) for trigger in _asked(body))


def _failed(trigger: RetrainingTrigger, message: str, *, now: datetime) -> MonitorResult:
    return MonitorResult(trigger, MonitorOutcome.ERROR, now, message=message)


def _asked(body: CheckBody) -> tuple[RetrainingTrigger, ...]:
    return tuple(trigger for trigger in MONITORS if trigger.value in body)
