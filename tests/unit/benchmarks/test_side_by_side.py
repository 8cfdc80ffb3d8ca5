"""Ratios and promises of the benchmarks: taken of medians, in turns, and missed where they are missed."""

import io

import pytest
from rich.console import Console

from benchmarks.side_by_side import Comparison, Timing, alternate, duration, ratio_told, report


def timing(name: str, *seconds: float) -> Timing:
    return Timing(name, seconds)


def test_contenders_take_turns_in_an_order_that_turns() -> None:
    told: list[str] = []
    ticks = iter(range(1000))
    timings = alternate(
        {"ours": lambda: told.append("ours"), "other": lambda: told.append("other")},
        rounds=2,
        calls=2,
        warm_up_rounds=1,
        clock=lambda: float(next(ticks)),
    )
    assert told == ["other"] * 2 + ["ours"] * 2 + ["ours"] * 2 + ["other"] * 2 + ["other"] * 2 + ["ours"] * 2
    assert timings["ours"].seconds == timings["other"].seconds == (1.0,) * 4


@pytest.mark.parametrize(("percent", "expected"), [(0, 1.0), (50, 2.0), (51, 3.0), (99, 4.0), (100, 4.0)])
def test_percentiles_are_samples(percent: float, expected: float) -> None:
    assert timing("ours", 4.0, 1.0, 3.0, 2.0).percentile(percent) == expected


@pytest.mark.parametrize(
    ("ours", "other", "promise", "holds"),
    [
        (1.2, 1.0, {"at_most": 1.3}, True),
        (1.4, 1.0, {"at_most": 1.3}, False),
        (1.0, 5.0, {"times_faster": 5.0}, True),
        (1.1, 5.0, {"times_faster": 5.0}, False),
        (9.0, 1.0, {}, True),
    ],
)
def test_a_promise_holds_or_is_missed(
    ours: float, other: float, promise: dict[str, float], holds: bool
) -> None:
    assert Comparison("work", timing("ours", ours), timing("other", other), **promise).holds is holds


def test_the_report_tells_ratio_and_verdict_and_the_exit_code() -> None:
    out = io.StringIO()
    console = Console(file=out, width=200)
    missed = Comparison("reading", timing("ours", 2.0), timing("bare", 1.0), at_most=1.5)
    held = Comparison("joining", timing("ours", 0.001), timing("rival", 0.010), times_faster=5)
    assert report(console, "Store", [missed, held], packages=["numpy"]) == 1
    assert report(console, "Store", [held]) == 0
    assert "2 x the time" in out.getvalue()
    assert "10 x faster" in out.getvalue()
    assert "missed" in out.getvalue()
    assert "held" in out.getvalue()
    assert "numpy" in out.getvalue()


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(2.0, "2 s"), (0.0123, "12.3 ms"), (1e-3, "1 ms"), (18e-6, "18 µs"), (2e-7, "200 ns"), (0.0, "0 ns")],
)
def test_durations_have_a_unit_that_suits_them(seconds: float, told: str) -> None:
    assert duration(seconds) == told


def test_a_ratio_tells_which_is_faster() -> None:
    assert ratio_told(1.25) == "1.25 x the time"
    assert ratio_told(0.01) == "100 x faster"
