"""Whatever is written in whatever batches, a read equals a plain dictionary of the same rows."""

import tempfile
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from mlinfra.features import FeatureStore, PartitionBy
from mlinfra.features.offline import OfflineStore
from mlinfra.features.timerange import moment_after, time_range

FIRST = datetime(2023, 12, 30)
NOW = datetime(2100, 1, 1)
"""Stands for the time of a write: later than every creation time that is given."""

VALUES = {
    "value": st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False, width=32)),
    "count": st.integers(-(2**63), 2**63 - 1),
    "venue": st.one_of(st.none(), st.sampled_from(["x", "", "ü"])),
    "up": st.one_of(st.none(), st.booleans()),
}
TYPES = {
    "symbol": "str",
    "event_timestamp": "datetime64[us]",
    "value": "float64",
    "count": "int64",
    "venue": "str",
    "up": "boolean",
    "created_timestamp": "datetime64[us, UTC]",
}
ADDED = ("venue", "up")
"""Columns that a group may get by and by."""

KEYS = st.tuples(
    st.sampled_from(["A", "B"]),
    st.sampled_from([0, 1, 2, 3, 17, 60]).map(lambda quarters: FIRST + timedelta(hours=6 * quarters)),
)
ROWS = st.builds(lambda key, values: (*key, values), KEYS, st.fixed_dictionaries(VALUES))
CREATED = st.one_of(st.none(), *[st.integers(1, 3).map(lambda day: datetime(2024, 2, day))] * 3)
DATES = st.one_of(st.none(), st.integers(-2, 18).map(lambda days: (FIRST + timedelta(days=days)).date()))

Key = tuple[datetime, str]


@dataclass(frozen=True)
class Write:
    rows: list[tuple[str, datetime, dict[str, Any]]]
    created: datetime | None
    adds: str | None
    order: int


@dataclass(frozen=True)
class Compact:
    min_files: int


WRITES = st.builds(
    Write,
    rows=st.lists(ROWS, min_size=1, max_size=12),
    created=CREATED,
    adds=st.sampled_from([None, None, *ADDED]),
    order=st.integers(0, 5),
)
STEPS = st.lists(st.one_of(WRITES, WRITES, st.builds(Compact, st.integers(2, 3))), min_size=1, max_size=8)


@dataclass
class Oracle:
    """Every version of every row, the latest of the same creation time only."""

    columns: list[str] = field(default_factory=lambda: ["value", "count"])
    versions: dict[Key, dict[datetime, dict[str, Any]]] = field(default_factory=dict)
    writes: int = 0

    def write(self, step: Write) -> None:
        self.writes += 1
        if step.adds and step.adds not in self.columns:
            self.columns.append(step.adds)
        created = step.created or NOW + timedelta(seconds=self.writes)
        for symbol, moment, values in step.rows:
            kept = {name: values[name] for name in self.columns}
            self.versions.setdefault((moment, symbol), {})[created] = kept

    def read(
        self, columns: list[str], start: date | None, end: date | None, before: datetime | None
    ) -> pd.DataFrame:
        found = []
        for (moment, symbol), versions in sorted(self.versions.items()):
            known = [created for created in versions if before is None or created < before]
            inside = (start is None or moment.date() >= start) and (end is None or moment.date() <= end)
            if known and inside:
                values = versions[max(known)]
                found.append([moment, symbol, *(values.get(name) for name in columns)])
        return framed(pd.DataFrame(found, columns=["event_timestamp", "symbol", *columns], dtype="object"))


def framed(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.astype({name: TYPES[name] for name in frame.columns})


def frame_of(step: Write, columns: list[str]) -> pd.DataFrame:
    rows = [[symbol, moment, *(values[name] for name in columns)] for symbol, moment, values in step.rows]
    frame = framed(pd.DataFrame(rows, columns=["symbol", "event_timestamp", *columns], dtype="object"))
    if step.created is not None:
        frame["created_timestamp"] = pd.Timestamp(step.created, tz="UTC")
    names = list(frame.columns)
    turn = step.order % len(names)
    return frame[[*names[turn:], *names[:turn]]]


@given(
    steps=STEPS,
    partition_by=st.sampled_from([None, "day", "month"]),
    start=DATES,
    end=DATES,
    known=st.integers(1, 3).map(lambda day: datetime(2024, 2, day)),
    wanted=st.lists(st.sampled_from(["value", "count", *ADDED]), unique=True),
)
@settings(max_examples=100)
def test_reads_equal_brute_force(
    steps: list[Write | Compact],
    partition_by: PartitionBy | None,
    start: date | None,
    end: date | None,
    known: datetime,
    wanted: list[str],
) -> None:
    if start and end and start > end:
        start, end = end, start
    oracle = Oracle()
    with tempfile.TemporaryDirectory() as folder:
        store = FeatureStore(Path(folder))
        for step in steps:
            if isinstance(step, Write):
                decided = None if oracle.writes else partition_by
                oracle.write(step)
                store.write_offline_features(
                    "g", frame_of(step, oracle.columns), entity_column="symbol", partition_by=decided
                )
            elif oracle.writes:
                store.compact_offline_features("g", min_files=step.min_files)
        if not oracle.writes:
            assert store.list_feature_groups() == []
            return
        columns = [name for name in wanted if name in oracle.columns] or oracle.columns
        read = store.read_offline_features("g", start, end, columns)
        files = OfflineStore(store.storage.at("offline")).files_of("g")
        before = moment_after(known.replace(tzinfo=UTC), "known", unit="us")
        then = files.within(time_range(start, end, files.group.time_type), before)
        as_known = then.read(["event_timestamp", "symbol", *columns]).to_pandas()
    pd.testing.assert_frame_equal(framed(read), oracle.read(columns, start, end, None))
    after = known + timedelta(microseconds=1)
    pd.testing.assert_frame_equal(framed(as_known), oracle.read(columns, start, end, after))
