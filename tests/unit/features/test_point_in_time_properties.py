"""Whatever is written and asked for, the point-in-time join equals a search by hand through all rows."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from mlinfra.features import FeatureStore

FIRST = pd.Timestamp("2023-12-30").value
HOUR = 3_600_000_000_000
SYMBOLS = ["A", "B", "C"]
UNITS = {"s": 10**9, "ms": 10**6, "us": 1000, "ns": 1}


@dataclass(frozen=True)
class Source:
    """A row of a group: what it says, of what, at which nanosecond, and the microsecond it was created."""

    symbol: str
    event: int
    created: int
    value: float | None
    count: int | None


EVENTS = st.builds(
    lambda hours, extra: FIRST + hours * HOUR + extra,
    st.integers(0, 60),
    st.sampled_from([0, 0, 0, 1, 999, 1000]),
)
SOURCES = st.builds(
    Source,
    symbol=st.sampled_from(SYMBOLS),
    event=EVENTS,
    created=st.integers(0, 5).map(lambda days: FIRST // 1000 + days * 24 * HOUR // 1000),
    value=st.one_of(st.none(), st.floats(-10, 10, width=32)),
    count=st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
)


def in_one_unit(batches: list[list[Source]], fine: bool) -> list[list[Source]]:
    """In nanoseconds from the first row on, or in microseconds: a group keeps the unit it began with."""
    rounded = [
        [row if fine else replace(row, event=row.event // 1000 * 1000) for row in batch] for batch in batches
    ]
    if fine:
        rounded[0][0] = replace(rounded[0][0], event=rounded[0][0].event // 1000 * 1000 + 1)
    return rounded


BATCHES = st.builds(
    in_one_unit, st.lists(st.lists(SOURCES, min_size=1, max_size=8), min_size=1, max_size=3), st.booleans()
)
ROWS = st.lists(
    st.tuples(st.one_of(st.none(), st.sampled_from([*SYMBOLS, "Z"])), EVENTS), min_size=0, max_size=10
)
TTLS = st.one_of(st.none(), st.integers(1, 40 * HOUR), st.integers(1, 40).map(lambda hours: hours * HOUR))
CUT_OFFS = st.one_of(st.none(), st.integers(0, 6).map(lambda days: FIRST + days * 24 * HOUR))


def written(store: FeatureStore, group: str, batches: list[list[Source]]) -> None:
    for batch in batches:
        frame = pd.DataFrame(
            {
                "symbol": pd.array([row.symbol for row in batch], dtype="str"),
                "event_timestamp": np.array([row.event for row in batch], dtype="datetime64[ns]"),
                "created_timestamp": pd.DatetimeIndex(
                    np.array([row.created for row in batch], dtype="datetime64[us]"), tz="UTC"
                ),
                "value": pd.array([row.value for row in batch], dtype="Float64"),
                "count": pd.array([row.count for row in batch], dtype="Int64"),
            }
        )
        store.write_offline_features(group, frame)


def found(
    batches: list[list[Source]], symbol: str | None, moment: int, ttl: int | None, known_at: int | None
) -> Source | None:
    candidates = [
        (row.event, row.created, number, place, row)
        for number, batch in enumerate(batches)
        for place, row in enumerate(batch)
        if row.symbol == symbol
        and row.event <= moment
        and (known_at is None or row.created * 1000 <= known_at)
    ]
    if not candidates:
        return None
    newest = max(candidates, key=lambda each: each[:4])[4]
    return None if ttl is not None and moment - newest.event > ttl else newest


@given(
    batches=BATCHES,
    others=BATCHES,
    rows=ROWS,
    unit=st.sampled_from(list(UNITS)),
    zone=st.sampled_from([None, "UTC", "America/New_York"]),
    ttl=TTLS,
    known_at=CUT_OFFS,
)
@settings(max_examples=40)
def test_the_join_equals_brute_force(
    batches: list[list[Source]],
    others: list[list[Source]],
    rows: list[tuple[str | None, int]],
    unit: str,
    zone: str | None,
    ttl: int | None,
    known_at: int | None,
) -> None:
    moments = [moment // UNITS[unit] * UNITS[unit] for _, moment in rows]
    times = pd.DatetimeIndex(np.array(moments, dtype="datetime64[ns]").astype(f"datetime64[{unit}]"))
    frame = pd.DataFrame(
        {
            "label": np.arange(len(rows)),
            "event_timestamp": times if zone is None else times.tz_localize("UTC").tz_convert(zone),
            "symbol": pd.array([symbol for symbol, _ in rows], dtype="str"),
        },
        index=np.arange(len(rows))[::-1] // 2,
    )
    with tempfile.TemporaryDirectory() as folder:
        store = FeatureStore(Path(folder))
        written(store, "one", batches)
        written(store, "two", others)
        joined = store.get_training_features(
            frame,
            ["two:count", "one"],
            ttl=None if ttl is None else {"one": pd.Timedelta(ttl, "ns")},
            known_at=None if known_at is None else pd.Timestamp(known_at),
            full_feature_names=True,
        )
    pd.testing.assert_frame_equal(joined[list(frame)], frame)
    assert list(joined)[3:] == ["two__count", "one__value", "one__count"]
    for number, (symbol, _) in enumerate(rows):
        one = found(batches, symbol, moments[number], ttl, known_at)
        two = found(others, symbol, moments[number], None, known_at)
        expected = (two and two.count, one and one.value, one and one.count)
        got = tuple(joined[name].iloc[number] for name in list(joined)[3:])
        assert tuple(None if pd.isna(value) else value for value in got) == expected
