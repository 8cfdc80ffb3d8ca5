"""Who may take a lease, and that never two replicas believe that they hold it."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlinfra_operator.runtime.lease import (
    LeaseRecord,
    LeaseTimes,
    Sighting,
    decide,
    look_again,
    record_of,
    sighted,
)

HELD = LeaseRecord("other", "t1", 15)


@pytest.mark.parametrize(
    ("sighting", "now", "expected"),
    [
        (None, 0, "create"),
        (Sighting(LeaseRecord("me", "t1", 15), 0), 100, "renew"),
        (Sighting(HELD, 0), 15, "wait"),
        (Sighting(HELD, 0), 15.1, "take"),
        (Sighting(LeaseRecord(None, "t1", 15), 0), 0, "take"),
    ],
)
def test_a_lease_is_taken_only_when_its_holder_is_gone(
    sighting: Sighting | None, now: float, expected: str
) -> None:
    assert decide(sighting, "me", now) == expected


@pytest.mark.parametrize(
    ("sighting", "now", "least", "most"),
    [
        (None, 0, 2, 2),
        (Sighting(HELD, 0), 0, 2, 2),
        (Sighting(HELD, 0), 13.5, 1.5, 1.6),
        (Sighting(HELD, 0), 14.999, 0.001, 0.1),
        (Sighting(HELD, 0), 15.5, 2, 2),
        (Sighting(LeaseRecord(None, "t1", 1), 0), 0, 1, 1.1),
    ],
)
def test_whoever_waits_looks_again_when_the_lease_expires(
    sighting: Sighting | None, now: float, least: float, most: float
) -> None:
    wait = look_again(sighting, LeaseTimes(), now)
    assert least <= wait <= most
    if wait < LeaseTimes().retry:
        assert decide(sighting, "me", now + wait) == "take"


def test_a_renewed_record_counts_from_when_it_was_seen() -> None:
    first = sighted(HELD, None, 1)
    assert sighted(HELD, first, 9) == first
    assert sighted(LeaseRecord("other", "t2", 15), first, 9).since == 9


def test_a_lease_is_read_as_the_api_server_has_it() -> None:
    lease: dict[str, Any] = {
        "spec": {
            "holderIdentity": "a",
            "renewTime": "2026-01-01T00:00:00.000000Z",
            "leaseDurationSeconds": 15,
            "leaseTransitions": 3,
        }
    }
    assert record_of(lease) == LeaseRecord("a", "2026-01-01T00:00:00.000000Z", 15, 3)
    assert record_of({"metadata": {}}) == LeaseRecord(None, None, 0)


class Replica:
    """A replica as `LeaderElection` runs it, on a clock of its own that is off by some hours."""

    def __init__(self, identity: str, offset: float) -> None:
        self.identity, self.offset = identity, offset
        self.sighting: Sighting | None = None
        self.renewed: float | None = None

    def believes(self, now: float, times: LeaseTimes) -> bool:
        return self.renewed is not None and now - self.renewed <= times.renew_deadline


@given(
    steps=st.lists(
        st.tuples(st.integers(0, 2), st.floats(0.1, 9), st.sampled_from(["works", "unreachable"])),
        max_size=60,
    )
)
@settings(max_examples=200)
def test_no_two_replicas_believe_that_they_lead(steps: list[tuple[int, float, str]]) -> None:
    times = LeaseTimes()
    replicas = [Replica(f"r{number}", 3600.0 * number) for number in range(3)]
    stored: LeaseRecord | None = None
    now, version = 0.0, 0
    for number, seconds, network in steps:
        now += seconds
        replica = replicas[number]
        local = now + replica.offset
        if network == "works":
            if stored is not None:
                replica.sighting = sighted(stored, replica.sighting, local)
            decision = decide(replica.sighting if stored else None, replica.identity, local)
            if decision != "wait":
                version += 1
                stored = LeaseRecord(replica.identity, f"t{version}", times.duration)
                replica.sighting = Sighting(stored, local)
                replica.renewed = now
            elif stored is not None and stored.holder != replica.identity:
                replica.renewed = None
        assert sum(each.believes(now, times) for each in replicas) <= 1
