"""Claims to Production: the newest counts, and a new one is always the newest."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlinfra_operator.modelversion.claims import (
    Claim,
    claim_timestamp,
    newest,
    next_claim_time,
    parse_claim,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
MOMENTS = st.integers(-(10**9), 10**9).map(lambda micro: START + timedelta(microseconds=micro))
CLAIMS = st.builds(Claim, name=st.just("v"), version=st.integers(1, 9), claimed_at=MOMENTS)


def claim(version: int, seconds: int) -> Claim:
    return Claim(f"model-{version}", version, START + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("claims", "winner"),
    [
        ([], None),
        ([claim(1, 0)], 1),
        ([claim(1, 5), claim(2, 0)], 1),
        ([claim(1, 0), claim(2, 0)], 2),
        ([claim(10, 0), claim(9, 0)], 10),
    ],
)
def test_the_newest_claim_wins_and_of_equal_ones_the_highest_version(
    claims: list[Claim], winner: int | None
) -> None:
    found = newest(claims)
    assert (found.version if found else None) == winner


@given(st.lists(CLAIMS, max_size=5), MOMENTS)
def test_a_new_claim_beats_all_others_even_where_the_clock_went_back(
    others: list[Claim], now: datetime
) -> None:
    own = Claim("own", 1, next_claim_time(others, now))
    assert newest([own, *others]) == own
    assert own.claimed_at >= now


@given(MOMENTS)
def test_a_claim_survives_being_written_to_the_status(moment: datetime) -> None:
    assert parse_claim(claim_timestamp(moment)) == moment
