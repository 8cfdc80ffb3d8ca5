"""Whatever is written in whatever batches, a read equals a plain dictionary of the same rows."""

import tempfile
from datetime import date, datetime, timedelta
from pathlib import Path

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from mlinfra.features import FeatureStore, PartitionBy

Row = tuple[str, datetime, float | None, int]

FIRST = datetime(2023, 12, 30)
ROWS = st.tuples(
    st.sampled_from(["A", "B", "C"]),
    st.integers(0, 60).map(lambda quarters: FIRST + timedelta(hours=6 * quarters)),
    st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False, width=32)),
    st.integers(-(2**63), 2**63 - 1),
)
BATCHES = st.lists(st.lists(ROWS, min_size=1, max_size=12), min_size=1, max_size=5)
DATES = st.one_of(st.none(), st.integers(-2, 18).map(lambda days: (FIRST + timedelta(days=days)).date()))


def frame_of(batch: list[Row]) -> pd.DataFrame:
    frame = pd.DataFrame(batch, columns=["symbol", "event_timestamp", "value", "count"])
    return frame.astype(
        {"symbol": "str", "event_timestamp": "datetime64[us]", "value": "float64", "count": "int64"}
    )


@given(batches=BATCHES, partition_by=st.sampled_from([None, "day", "month"]), start=DATES, end=DATES)
@settings(max_examples=40, deadline=None)
def test_reads_equal_brute_force(
    batches: list[list[Row]], partition_by: PartitionBy | None, start: date | None, end: date | None
) -> None:
    if start and end and start > end:
        start, end = end, start
    expected: dict[tuple[datetime, str], tuple[float | None, int]] = {}
    with tempfile.TemporaryDirectory() as folder:
        store = FeatureStore(Path(folder))
        for number, batch in enumerate(batches):
            decided = partition_by if number == 0 else None
            store.write_offline_features("g", frame_of(batch), partition_by=decided)
            expected |= {(moment, symbol): (value, count) for symbol, moment, value, count in batch}
        read = store.read_offline_features("g", start, end)
    wanted = [
        (symbol, moment, *expected[moment, symbol])
        for moment, symbol in sorted(expected)
        if (start is None or moment.date() >= start) and (end is None or moment.date() <= end)
    ]
    pd.testing.assert_frame_equal(read, frame_of(wanted)[list(read)])
