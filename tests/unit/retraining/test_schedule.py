"""When a schedule is due: across changes of the clock, for macros, and for what is no schedule."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlinfra.retraining.schedule import InvalidScheduleError, parse_schedule

CHANGES = [
    datetime.fromisoformat(text)
    for text in (
        "2026-03-29T01:00", "2026-10-25T01:00",  # Berlin
        "2026-03-08T07:00", "2026-11-01T06:00",  # New York
        "2026-04-04T15:00", "2026-10-03T15:30",  # Lord Howe: by half an hour
    )
]  # fmt: skip
"""When clocks change, in UTC."""
NEAR_A_CHANGE = st.builds(
    lambda change, offset: (change + offset).replace(tzinfo=UTC),
    st.sampled_from(CHANGES),
    st.timedeltas(timedelta(hours=-5), timedelta(hours=5)),
)
MOMENTS = NEAR_A_CHANGE | st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))
EXPRESSIONS = st.sampled_from(
    [
        "0 3 * * *", "30 2 * * *", "59 2 * * *", "*/20 * * * *", "30 * * * *", "*/15 1-3 * * *",
        "0 0 * * SUN", "15 1,13 1 * *", "@hourly", "@monthly",
    ]
)  # fmt: skip
ZONES = st.sampled_from([None, "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"])


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        # 2:30 does not exist on 29 March 2026 in Berlin: right after the gap, once.
        ("2026-03-28T02:00", ["2026-03-29T01:00", "2026-03-30T00:30"]),
        # 2:30 is twice on 25 October: the first counts.
        ("2026-10-24T12:00", ["2026-10-25T00:30", "2026-10-26T01:30"]),
    ],
)
def test_a_daily_training_runs_once_a_day_when_clocks_change(after: str, expected: list[str]) -> None:
    schedule = parse_schedule("30 2 * * *", "Europe/Berlin")
    moment, found = utc(after), []
    for _ in expected:
        moment = schedule.next(moment)
        assert moment is not None
        found.append(moment)
    assert found == [utc(text) for text in expected]


@pytest.mark.parametrize(
    ("expression", "zone", "after", "expected"),
    [
        ("0 3 * * *", None, "2026-01-01T00:00", "2026-01-01T03:00"),
        ("0 3 * * *", "Asia/Kolkata", "2026-01-01T00:00", "2026-01-01T21:30"),
        ("@daily", None, "2026-01-01T00:00", "2026-01-02T00:00"),
        ("0 0 ? * mon", None, "2026-01-01T00:00", "2026-01-05T00:00"),
    ],
)
def test_the_next_time_is_after_the_moment(
    expression: str, zone: str | None, after: str, expected: str
) -> None:
    assert parse_schedule(expression, zone).next(utc(after)) == utc(expected)


def test_the_latest_time_includes_the_moment_and_leaves_the_start_out() -> None:
    schedule = parse_schedule("0 3 * * *")
    three = utc("2026-01-02T03:00")
    assert schedule.latest(three, after=three - timedelta(days=9)) == three
    assert schedule.latest(three + timedelta(hours=1), after=three) is None
    assert schedule.latest(three - timedelta(microseconds=1), after=three - timedelta(days=1)) is None


@given(
    expression=EXPRESSIONS, zone=ZONES, moment=MOMENTS, later=st.timedeltas(timedelta(0), timedelta(hours=5))
)
@settings(max_examples=300)
def test_the_next_time_is_the_same_from_wherever_one_looks(
    expression: str, zone: str | None, moment: datetime, later: timedelta
) -> None:
    schedule = parse_schedule(expression, zone)
    upcoming = schedule.next(moment)
    assert upcoming is not None
    assert upcoming > moment
    if moment + later < upcoming:
        assert schedule.next(moment + later) == upcoming
    assert schedule.latest(upcoming, after=moment) == upcoming


def test_a_repeated_hour_has_all_times_of_an_hourly_schedule_and_one_of_a_daily_one() -> None:
    hourly, daily = (parse_schedule(text, "Europe/Berlin") for text in ("30 * * * *", "30 2 * * *"))
    second = utc("2026-10-25T01:30")
    for seconds in range(0, 3600, 60):
        now = second + timedelta(seconds=seconds)
        assert hourly.latest(now, after=now - timedelta(minutes=60)) == second
        assert daily.latest(now, after=now - timedelta(days=1)) == utc("2026-10-25T00:30")
        assert daily.next(now) == utc("2026-10-26T01:30")


@given(expression=EXPRESSIONS, zone=ZONES, start=MOMENTS, span=st.timedeltas(timedelta(0), timedelta(days=3)))
@settings(max_examples=150)
def test_the_latest_time_is_the_last_of_all_times_forwards(
    expression: str, zone: str | None, start: datetime, span: timedelta
) -> None:
    schedule = parse_schedule(expression, zone)
    found: list[datetime] = []
    moment = schedule.next(start)
    while moment is not None and moment <= start + span:
        found.append(moment)
        moment = schedule.next(moment)
    assert schedule.latest(start + span, after=start) == (found[-1] if found else None)


@pytest.mark.parametrize(
    ("expression", "zone", "message"),
    [
        ("0 3 * *", None, "has 4 fields"),
        ("0 0 3 * * *", None, "has 6 fields"),
        ("61 3 * * *", None, "bad minute"),
        ("@every 1h", None, "has 2 fields"),
        ("TZ=UTC 0 3 * * *", None, "has 6 fields"),
        ("0 3 * * *", "Europe/Atlantis", "no name of the IANA"),
        ("0 3 * * *", "../../etc/passwd", "no name of the IANA"),
        ("0 0 30 2 *", None, "bad day-of-month"),
    ],
)
def test_what_is_no_schedule_is_refused(expression: str, zone: str | None, message: str) -> None:
    with pytest.raises(InvalidScheduleError, match=message):
        parse_schedule(expression, zone)
