"""The order of rows and labels in a replay: each once, and no label before its time."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from mlinfra.retraining.live.plan import stretches

START = datetime(2004, 1, 2, 21, tzinfo=UTC)
DAY = timedelta(days=1)


def test_labels_come_at_the_first_check_after_they_are_known() -> None:
    times = [START + number * DAY for number in range(5)]
    first, second, third = stretches(times, delay=2 * DAY, rows=3)
    assert (list(first.asked), list(first.told), first.now) == ([0, 1, 2], [0], times[2])
    assert (list(second.asked), list(second.told), second.now) == ([3, 4], [1, 2], times[4])
    assert (list(third.asked), list(third.told), third.now) == ([], [3, 4], times[4] + 2 * DAY)


def test_nothing_to_replay_has_no_stretch() -> None:
    assert list(stretches([], delay=DAY, rows=5)) == []


@given(
    gaps=st.lists(st.integers(0, 20), max_size=40),
    delay=st.integers(0, 30),
    rows=st.integers(1, 12),
)
def test_each_row_and_each_label_is_sent_once_and_no_label_before_it_is_known(
    gaps: list[int], delay: int, rows: int
) -> None:
    moment, times = START, []
    for gap in gaps:
        moment += gap * DAY
        times.append(moment)
    wait = delay * DAY
    asked: list[int] = []
    told: list[int] = []
    for stretch in stretches(times, delay=wait, rows=rows):
        assert all(times[row] <= stretch.now for row in stretch.asked)
        asked += stretch.asked
        told += stretch.told
        # What is known by then, all of it and nothing else, of rows that were asked about.
        assert set(told) == {row for row in asked if times[row] + wait <= stretch.now}
    assert asked == list(range(len(times)))
    assert told == list(range(len(times)))
