"""Whether a version is a canary, and how many pods that takes. Pure.

A Service spreads connections evenly over its pods, so a share of the requests is a share of the pods. While
a version is a canary, the Service selects the pods of the version before it and the canary's.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from mlinfra.resources.model_version import ModelVersion, ModelVersionStatus
from mlinfra.resources.serving import CanaryStatus, Serving
from mlinfra_operator.conditions import timestamp
from mlinfra_operator.serving.observed import Deployment, Observed, Service


@dataclass(frozen=True, slots=True)
class Share:
    """What a canary has.

    Attributes:
        beside: number of the version that answers beside it.
        pods: how many pods it has.
    """

    beside: str
    pods: int


def pods_for(percent: int, *, beside: int, most: int) -> int:
    """How many pods a canary has so that its share of all pods is nearest to ``percent``.

    Args:
        percent: from 1 to 99.
        beside: pods of the version beside it, at least one.
        most: the most it may have, at least one.
    """
    exact = percent * beside / (100 - percent)
    fewer, more = max(1, int(exact)), int(exact) + 1
    wanted = percent / 100
    nearest = min((fewer, more), key=lambda pods: (abs(pods / (pods + beside) - wanted), pods))
    return min(nearest, most)


def share_of(
    version: ModelVersion, status: ModelVersionStatus, observed: Observed, now: datetime
) -> Share | None:
    """What a version has while it is a canary; None where it is none, or its time is over.

    Args:
        version: the ModelVersion.
        status: its status as it is about to be written.
        observed: what is known now.
        now: the time of the observation.
    """
    serving, service = version.spec.serving, observed.services.get("Production")
    if serving is None or not serving.enabled or serving.canary is None or service is None:
        return None
    if status.phase != "Production" or version.status.took_over_at is not None:
        return None
    if service.canary not in (None, version.spec.version):
        return None
    previous = observed.others.get(service.version or "")
    if previous is None or previous.desired < 1 or service.version not in previous.beside:
        return None
    until = ends_at(version, service)
    if until is not None and now >= until:
        return None
    pods = pods_for(serving.canary.percent, beside=previous.desired, most=_most_pods(serving))
    return Share(previous.version, pods)


def ends_at(version: ModelVersion, service: Service) -> datetime | None:
    """When the time of a version that is a canary is over; None where nobody knows."""
    serving = version.spec.serving
    if serving is None or serving.canary is None or service.canary_since is None:
        return None
    if service.canary != version.spec.version:
        return None
    return service.canary_since + timedelta(seconds=serving.canary.seconds)


def canary_status(
    version: ModelVersion, service: Service, own: Deployment, previous: Deployment | None
) -> CanaryStatus:
    """What is told of a canary that shares a Service with the version before."""
    beside = previous.ready if previous is not None else 0
    until = ends_at(version, service)
    return CanaryStatus(
        previous=service.version or "",
        percent=round(100 * own.ready / max(1, own.ready + beside)),
        pods=own.ready,
        previous_pods=beside,
        since=timestamp(service.canary_since) if service.canary_since is not None else None,
        until=timestamp(until) if until is not None else None,
    )


def _most_pods(serving: Serving) -> int:
    return serving.replicas if serving.autoscaling is None else serving.autoscaling.max_replicas
