"""What a policy asks its model's server, and what the answer says. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from mlinfra.resources import RetrainingPolicy
from mlinfra.retraining.assessment import performance_to_check
from mlinfra.retraining.triggers import (
    InvalidMonitorResultError,
    MonitorOutcome,
    MonitorResult,
    RetrainingTrigger,
)

MONITORS = (RetrainingTrigger.DRIFT, RetrainingTrigger.PERFORMANCE)
NO_SERVER = "no version of the model in Production is served: spec.serving of its ModelVersion asks for it"


@dataclass(frozen=True, slots=True)
class Ask:
    """A check that is made again and again.

    Attributes:
        namespace, model: the registered model, and where its Service is.
        url: the server to ask; that of the model's Service where absent.
        body: the policies to check by, as JSON.
        interval, timeout: in seconds.
    """

    namespace: str
    model: str
    url: str | None
    body: Mapping[str, Any]
    interval: float
    timeout: float


@dataclass(frozen=True, slots=True)
class Checked:
    """The newest results, and when they were asked for."""

    at: datetime
    results: tuple[MonitorResult, ...]


def ask_of(policy: RetrainingPolicy) -> Ask | None:
    """What to ask for a policy; None where it watches nothing."""
    spec = policy.spec
    checks = {
        "drift": spec.drift,
        "performance": performance_to_check(spec.drift, spec.performance),
    }
    body = {name: check.to_wire() for name, check in checks.items() if check is not None}
    if not body:
        return None
    return Ask(
        namespace=policy.metadata.namespace,
        model=spec.model_name,
        url=spec.monitoring.url,
        body=body,
        interval=float(spec.monitoring.interval_seconds),
        timeout=float(spec.monitoring.timeout_seconds),
    )


def results_of(ask: Ask, report: object, *, now: datetime) -> tuple[MonitorResult, ...]:
    """What a server's report says of each monitor that was asked for.

    A part of it that cannot be read is an error of its monitor, and no reason to train.
    """
    found = report if isinstance(report, Mapping) else {}
    results = []
    for trigger in _asked(ask):
        part = found.get(trigger.value)
        try:
            result = MonitorResult.of_wire(part.get("result", part) if isinstance(part, Mapping) else part)
        except InvalidMonitorResultError as error:
            results.append(_failed(trigger, f"the server's answer cannot be read: {error}", now=now))
            continue
        # A server that confuses its monitors must not make drift of a loss of performance.
        results.append(replace(result, trigger=trigger))
    return tuple(results)


def failures_of(ask: Ask, message: str, *, now: datetime) -> tuple[MonitorResult, ...]:
    """The results of a check that was not answered."""
    return tuple(_failed(trigger, message, now=now) for trigger in _asked(ask))


def _failed(trigger: RetrainingTrigger, message: str, *, now: datetime) -> MonitorResult:
    return MonitorResult(trigger, MonitorOutcome.ERROR, now, message=message)


def _asked(ask: Ask) -> tuple[RetrainingTrigger, ...]:
    return tuple(trigger for trigger in MONITORS if trigger.value in ask.body)
