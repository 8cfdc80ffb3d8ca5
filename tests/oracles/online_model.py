"""The online store as a plain dictionary, and a state machine that compares the real one with it."""

import math
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pandas as pd
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from mlinfra.features import FeatureStatus, FeatureStore, OnlineReader

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
KEYS = ["a", "b", "c", "é", ""]
VERSIONS = ["1.0", "2.0"]
FEATURES = ["x", "y"]

NUMBERS = st.one_of(st.just(math.nan), st.floats(allow_nan=False, allow_infinity=False))
SECONDS = st.integers(-5, 5)
TTL = st.one_of(st.none(), st.integers(1, 4))
VERSION = st.sampled_from(VERSIONS)
SOME_KEYS = st.lists(st.sampled_from(KEYS), min_size=1, max_size=6)


@dataclass(frozen=True)
class Row:
    event: int
    created: int
    values: tuple[float, ...]


class OnlineModel:
    """What the store must hold."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], Row] = {}

    def write(
        self, version: str, key: str, row: Row, *, force: bool, untimed: bool, creation_told: bool
    ) -> bool:
        there = self.rows.get((version, key))
        event, created = row.event, row.created
        if there is not None and not force:
            if untimed:
                event = max(event, there.event)
            if event < there.event:
                return False
            if event == there.event and not creation_told:
                created = max(created, there.created)
            if event == there.event and created < there.created:
                return False
        self.rows[version, key] = Row(event, created, row.values)
        return True

    def status(self, version: str, key: str, now: int, ttl: int | None) -> list[FeatureStatus]:
        row = self.rows.get((version, key))
        if row is None:
            return [FeatureStatus.MISSING] * len(FEATURES)
        if ttl is not None and now - row.event > ttl:
            return [FeatureStatus.EXPIRED] * len(FEATURES)
        return [FeatureStatus.NULL if math.isnan(value) else FeatureStatus.PRESENT for value in row.values]


class OnlineMachine(RuleBasedStateMachine):
    """Writes in any order, forced or not, reads, expiry, versions, and stores opened anew."""

    def open_store(self) -> FeatureStore:
        """A store at the same place each time, with the clock of this machine."""
        raise NotImplementedError

    def clock(self) -> int:
        return self.now

    @initialize()
    def start(self) -> None:
        self.now = START
        self.model = OnlineModel()
        self.store = self.open_store()
        self.readers: dict[tuple[str, int | None], OnlineReader] = {}

    @rule(seconds=SECONDS)
    def pass_time(self, seconds: int) -> None:
        self.now += seconds * SECOND

    @rule()
    def reopen(self) -> None:
        self.readers.clear()
        self.store = self.open_store()

    @rule(
        keys=SOME_KEYS,
        version=VERSION,
        ago=st.one_of(st.none(), SECONDS),
        force=st.booleans(),
        data=st.data(),
    )
    def write_numbers(
        self, keys: list[str], version: str, ago: int | None, force: bool, data: st.DataObject
    ) -> None:
        keys = list(dict.fromkeys(keys))
        values = [(data.draw(NUMBERS), data.draw(NUMBERS)) for _ in keys]
        event = self.now if ago is None else self.now - ago * SECOND
        stored = self.store.write_online_features(
            keys,
            np.array(values),
            feature_group="g",
            version=version,
            features=FEATURES,
            event_timestamp=None if ago is None else pd.Timestamp(event, tz="UTC"),
            force=force,
        )
        wins = [
            self.model.write(
                version, key, Row(event, self.now, row), force=force, untimed=ago is None, creation_told=False
            )
            for key, row in zip(keys, values, strict=True)
        ]
        assert stored == sum(wins)

    @rule(keys=SOME_KEYS, version=VERSION, data=st.data())
    def write_frame(self, keys: list[str], version: str, data: st.DataObject) -> None:
        """Several rows of a key in one call: the newest of them counts."""
        rows = [
            Row(
                self.now + data.draw(SECONDS) * SECOND,
                self.now + data.draw(SECONDS) * SECOND,
                (data.draw(NUMBERS), data.draw(NUMBERS)),
            )
            for _ in keys
        ]
        frame = pd.DataFrame([row.values for row in rows], columns=FEATURES, dtype="float64")
        frame["event_timestamp"] = pd.to_datetime([row.event for row in rows], utc=True)
        frame["created_timestamp"] = pd.to_datetime([row.created for row in rows], utc=True)
        # Nulls tell no type, and the first write of a version needs one.
        if frame[FEATURES].notna().any().all():
            self.store.write_online_features(keys, frame, feature_group="g", version=version)
            for key, row in zip(keys, rows, strict=True):
                self.model.write(version, key, row, force=False, untimed=False, creation_told=True)

    @rule(
        keys=SOME_KEYS,
        version=VERSION,
        ttl=st.one_of(st.none(), st.integers(1, 4)),
        rows=st.sampled_from([0, 3, 99]),
    )
    def read(self, keys: list[str], version: str, ttl: int | None, rows: int) -> None:
        if not any(written == version for written, _ in self.model.rows):
            return
        place = (f"{version}/{rows}", ttl)
        if place not in self.readers:
            self.readers[place] = self.store.prepare_online(
                feature_group="g",
                features=FEATURES,
                version=version,
                ttl=None if ttl is None else timedelta(seconds=ttl),
                memory_rows=rows,
            )
        answer = self.readers[place].read(keys)
        for number, key in enumerate(keys):
            wanted = self.model.status(version, key, self.now, None if ttl is None else ttl * SECOND)
            assert answer.status[number].tolist() == wanted
            row = self.model.rows.get((version, key))
            moment = np.datetime64("NaT") if row is None else np.datetime64(row.event, "ns")
            np.testing.assert_equal(answer.event_timestamps[number], moment)
            present = [
                value if status == FeatureStatus.PRESENT else math.nan
                for value, status in zip(row.values if row else (math.nan,) * 2, wanted, strict=True)
            ]
            np.testing.assert_equal(answer.values[number].tolist(), present)
