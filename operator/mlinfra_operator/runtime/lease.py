"""Whether a lease may be taken. Pure.

Whether its holder still lives is judged by how long its record has not changed, on our own clock: clocks
of different machines are never compared.
"""

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """In seconds, as Kubernetes' own controllers have them.

    Attributes:
        duration: a holder that did not renew for so long has lost the lease.
        renew_deadline: a holder that could not renew for so long stops working, well before that.
        retry: between attempts to take or renew.
    """

    duration: float = 15.0
    renew_deadline: float = 10.0
    retry: float = 2.0


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """What a Lease says; ``holder`` is None where it was released."""

    holder: str | None
    renewed: str | None
    duration: float
    transitions: int = 0


@dataclass(frozen=True, slots=True)
class Sighting:
    """A record, and since when it has been seen unchanged, on a monotonic clock."""

    record: LeaseRecord
    since: float


Decision = Literal["create", "renew", "take", "wait"]


def record_of(lease: dict[str, Any]) -> LeaseRecord:
    """The record of a coordination.k8s.io/v1 Lease."""
    spec = lease.get("spec") or {}
    return LeaseRecord(
        holder=spec.get("holderIdentity") or None,
        renewed=spec.get("renewTime"),
        duration=float(spec.get("leaseDurationSeconds") or 0),
        transitions=int(spec.get("leaseTransitions") or 0),
    )


def sighted(record: LeaseRecord, before: Sighting | None, now: float) -> Sighting:
    """The sighting of a record, given the sighting before."""
    return before if before is not None and before.record == record else Sighting(record, now)


def decide(sighting: Sighting | None, identity: str, now: float) -> Decision:
    """What to do about a lease; None is one that is not there."""
    if sighting is None:
        return "create"
    record = sighting.record
    if record.holder == identity:
        return "renew"
    expired = now - sighting.since > record.duration
    return "take" if record.holder is None or expired else "wait"


def look_again(sighting: Sighting | None, times: LeaseTimes, now: float) -> float:
    """Seconds until whoever waits for a lease looks at it again: not later than when it expires."""
    if sighting is None:
        return times.retry
    left = sighting.since + sighting.record.duration - now
    # Rather a little late than too early: it is not expired then. One that expired long ago is no hurry.
    return min(left + 0.01, times.retry) if left > 0 else times.retry
