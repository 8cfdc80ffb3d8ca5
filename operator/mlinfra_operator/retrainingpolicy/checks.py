"""What a policy asks its model's server. Pure."""

from dataclasses import dataclass
from datetime import datetime

from mlinfra.resources import RetrainingPolicy
from mlinfra.retraining.server_check import CheckBody, check_body
from mlinfra.retraining.triggers import MonitorResult

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
    body: CheckBody
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
    body = check_body(spec.drift, spec.performance)
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
