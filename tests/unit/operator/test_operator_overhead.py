"""The benchmark's summary: which times count, and when it fails."""

import pytest

from benchmarks.operator_overhead.__main__ import Summary


@pytest.mark.parametrize(
    ("seconds", "median", "p90", "longest"),
    [
        ([1.0], 1.0, 1.0, 1.0),
        ([3.0, 1.0], 2.0, 3.0, 3.0),
        ([float(number) for number in range(10, 0, -1)], 5.5, 9.0, 10.0),
        ([float(number) for number in range(1, 12)], 6.0, 10.0, 11.0),
    ],
)
def test_a_summary_tells_median_p90_by_nearest_rank_and_maximum(
    seconds: list[float], median: float, p90: float, longest: float
) -> None:
    summary = Summary.of("apply to running", seconds, limit=1.0)
    assert (summary.median, summary.p90, summary.longest) == (median, p90, longest)


@pytest.mark.parametrize(
    ("seconds", "holds"), [([0.9, 0.9, 5.0], True), ([0.9, 1.1, 1.2], False), ([1.0], False)]
)
def test_the_median_alone_decides_whether_the_limit_holds(seconds: list[float], holds: bool) -> None:
    assert Summary.of("apply to running", seconds, limit=1.0).holds is holds
