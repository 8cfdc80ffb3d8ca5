"""What a policy asks its model's server, or a Prometheus. Pure."""

from dataclasses import dataclass
from datetime import datetime

from mlinfra.resources import RetrainingPolicy
from mlinfra.resources.names import CHECK_ANNOTATION
from mlinfra.retraining.prometheus_check import PrometheusCheck
from mlinfra.retraining.server_check import CheckBody, check_body
from mlinfra.retraining.triggers import MonitorResult

MAX_REQUEST = 256
NO_SERVER = "no version of the model in Production is served: spec.serving of its ModelVersion asks for it"


@dataclass(frozen=True, slots=True)
class Ask:
    """A check that is made again and again.

    Attributes:
        namespace, model: the registered model, and where its Service is.
        url: the server to ask; that of the model's Service where absent.
        body: the policies to check by, as JSON.
        interval, timeout: in seconds.
        request: the annotation's value that asks for a check at once; None where none ever did.
        prometheus: what is asked in place of a server; None where a server is.
    """

    namespace: str
    model: str
    url: str | None
    body: CheckBody
    interval: float
    timeout: float
    request: str | None = None
    prometheus: PrometheusCheck | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """The newest results, when they were asked for, and by which value of the annotation."""

    at: datetime
    results: tuple[MonitorResult, ...]
    request: str | None = None


def ask_of(policy: RetrainingPolicy) -> Ask | None:
    """What to ask for a policy; None where it watches nothing."""
    spec = policy.spec
    body = check_body(spec.drift, spec.performance)
    if not body:
        return None
    source, group = spec.monitoring.prometheus, spec.monitoring.feature_group
    if group is not None:
        body = {**body, "featureGroup": group.to_wire()}
    return Ask(
        namespace=policy.metadata.namespace,
        model=spec.model_name,
        url=spec.monitoring.url,
        body=body,
        interval=float(spec.monitoring.interval_seconds),
        timeout=float(spec.monitoring.timeout_seconds),
        request=policy.metadata.annotations.get(CHECK_ANNOTATION, "")[:MAX_REQUEST] or None,
        prometheus=PrometheusCheck(source, spec.drift, spec.performance) if source is not None else None,
    )


def last_asked(policy: RetrainingPolicy, ask: Ask | None) -> datetime | None:
    """When the monitors were last asked; None where they were not, or not for what is asked for now."""
    if ask is None or ask.request not in (None, policy.status.last_check_request):
        return None
    times = [datetime.fromisoformat(each.check_time) for each in policy.status.monitors]
    return max(times, default=None)
