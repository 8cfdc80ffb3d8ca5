"""Which of several versions has Production: the newest claim, and of equal ones the highest version. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any


@dataclass(frozen=True, slots=True)
class Claim:
    """A version's claim to Production, as its status holds it."""

    name: str
    version: int
    claimed_at: datetime


def stored_claim(obj: Mapping[str, Any]) -> Claim | None:
    """The claim to Production of a ModelVersion as the API server has it; None where it has none.

    One that this operator's models cannot read counts like any other: two must never be in Production.
    """
    claimed_at = (obj.get("status") or {}).get("productionClaimedAt")
    if obj["spec"].get("stage") != "Production" or claimed_at is None:
        return None
    return Claim(str(obj["metadata"]["name"]), int(obj["spec"]["version"]), parse_claim(claimed_at))


def newest(claims: Iterable[Claim]) -> Claim | None:
    """The claim that counts; None where there is none."""
    return max(claims, key=lambda claim: (claim.claimed_at, claim.version), default=None)


def next_claim_time(others: Iterable[Claim], now: datetime) -> datetime:
    """A time for a new claim, later than any other claim even where a clock went back."""
    latest = max((claim.claimed_at for claim in others), default=None)
    return now if latest is None or now > latest else latest + timedelta(microseconds=1)


def claim_timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC, to the microsecond."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


def parse_claim(text: str) -> datetime:
    """The time of a claim.

    Raises:
        ValueError: it is no RFC 3339 time.
    """
    return datetime.fromisoformat(text)
