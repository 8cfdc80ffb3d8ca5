"""What a monitor says, on the wire: the same value comes back, and what is none is refused by name."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlinfra.retraining.triggers import (
    MAX_FEATURES,
    FeatureScore,
    InvalidMonitorResultError,
    MonitorOutcome,
    MonitorResult,
    RetrainingTrigger,
)

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
TIMES = st.datetimes(
    datetime(1990, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC) | st.just(timezone(timedelta(hours=5)))
)
FEATURES = st.builds(FeatureScore, st.text(max_size=20), NUMBERS, NUMBERS)
RESULTS = st.builds(
    MonitorResult,
    trigger=st.sampled_from([RetrainingTrigger.DRIFT, RetrainingTrigger.PERFORMANCE]),
    outcome=st.sampled_from(MonitorOutcome),
    window_end=TIMES,
    score=st.none() | NUMBERS,
    threshold=st.none() | NUMBERS,
    message=st.text(max_size=50),
    window_start=st.none() | TIMES,
    metric=st.text(max_size=20),
    estimated=st.booleans(),
    samples=st.none() | st.integers(0, 10**12),
    features=st.lists(FEATURES, max_size=MAX_FEATURES).map(tuple),
    model_version=st.text(max_size=10),
)
WIRE: dict[str, Any] = {"trigger": "drift", "outcome": "ok", "windowEnd": "2026-05-01T12:00:00Z"}


@given(RESULTS)
def test_a_result_comes_back_from_json(result: MonitorResult) -> None:
    assert MonitorResult.of_wire(json.loads(json.dumps(result.to_wire(), allow_nan=False))) == result


def test_the_wire_is_short_where_little_is_known_and_new_fields_are_passed_over() -> None:
    result = MonitorResult.of_wire({**WIRE, "addedLater": 1})
    assert result == MonitorResult(
        RetrainingTrigger.DRIFT, MonitorOutcome.OK, datetime(2026, 5, 1, 12, tzinfo=UTC)
    )
    assert result.to_wire() == WIRE


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"trigger": "manual"}, "trigger"),
        ({"outcome": "fine"}, "outcome"),
        ({"windowEnd": "2026-05-01T12:00:00"}, "windowEnd"),
        ({"windowEnd": None}, "windowEnd"),
        ({"score": "0.3"}, "score"),
        ({"score": float("nan")}, "score"),
        ({"samples": -1}, "samples"),
        ({"samples": True}, "samples"),
        ({"estimated": "no"}, "estimated"),
        ({"features": [{"name": "a", "score": 1}]}, "features.0.threshold"),
        ({"message": 3}, "message"),
    ],
)
def test_what_is_no_result_is_refused_with_the_field(change: dict[str, Any], where: str) -> None:
    with pytest.raises(InvalidMonitorResultError, match=f"^{where} of a monitor's result"):
        MonitorResult.of_wire(WIRE | change)


@pytest.mark.parametrize("wire", [None, [], "drift", 3])
def test_what_is_no_object_is_refused(wire: object) -> None:
    with pytest.raises(InvalidMonitorResultError, match="the whole of a monitor's result"):
        MonitorResult.of_wire(wire)
