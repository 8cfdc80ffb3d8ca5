"""Labels that others write to a feature group: each counts once, whatever else tells it, and in any order."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlinfra.features import FeatureStore
from mlinfra.serving.known_ids import KnownIds
from mlinfra.serving.label_book import LabelBook, Labelled
from mlinfra.serving.label_rows import LabelRows
from mlinfra.serving.observations import Label

LOG, LABELS, TRUTH = "predictions_m", "labels_m", "truth"
START = datetime(2026, 1, 5, tzinfo=UTC)


class Replica:
    """The labels of one server, told what it counts; ``restart`` forgets all but the store."""

    def __init__(
        self, store: FeatureStore, name: str, *, column: str = "label", remembered: int = 100
    ) -> None:
        self.store, self.name, self.column, self.remembered = store, name, column, remembered
        self.counted: list[Labelled] = []
        self.outcomes: dict[str, int] = {}
        self.restart()

    def restart(self) -> None:
        self.book = LabelBook(
            self.store,
            LABELS,
            log=LOG,
            replica=self.name,
            ids=KnownIds(self.remembered),
            max_predictions=self.remembered,
            on_labels=self.label,
            sources=[LabelRows(self.store, LABELS, "label"), LabelRows(self.store, TRUTH, self.column)],
            seconds=0,
            count=self.count,
        )

    def label(self, labels: Sequence[Labelled]) -> set[str]:
        self.counted.extend(labels)
        return set()

    def count(self, outcome: str, labels: int) -> None:
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + labels

    @property
    def ids(self) -> list[str]:
        return [each.id for each in self.counted]


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path / "store")


def predict(store: FeatureStore, numbers: Sequence[int]) -> None:
    """Predictions ``p<number>`` of entity ``e<number>`` at that hour, in the log."""
    rows = pd.DataFrame(
        {
            "prediction_id": [f"p{number}" for number in numbers],
            "event_timestamp": [START + timedelta(hours=number) for number in numbers],
            "model_version": "1",
            "entity": [f"e{number}" for number in numbers],
            "replica": "gone",
            "sequence": numbers,
            "prediction": [float(number) for number in numbers],
        }
    )
    store.write_offline_features(LOG, rows, entity_column="prediction_id")


def write(
    store: FeatureStore, group: str, key: str, labels: dict[str, Any], *, column: str = "label"
) -> None:
    """Labels of keys such as ``p3`` or ``e3``."""
    rows = pd.DataFrame(
        {
            key: list(labels),
            "event_timestamp": [START + timedelta(hours=int(one[1:])) for one in labels],
            column: list(labels.values()),
        }
    )
    known = store.get_feature_group(group).columns if group in store.list_feature_groups() else []
    for name in known:
        if name not in (*rows, "created_timestamp"):
            rows[name] = None
    store.write_offline_features(group, rows, entity_column=key)


@pytest.mark.parametrize(
    ("group", "key", "first"),
    [(LABELS, "prediction_id", "p"), (TRUTH, "prediction_id", "p"), (TRUTH, "symbol", "e")],
)
def test_labels_of_a_group_are_kept_and_counted(
    store: FeatureStore, group: str, key: str, first: str
) -> None:
    predict(store, [1, 2])
    write(store, group, key, {f"{first}1": 1.5, f"{first}2": 2.5, f"{first}9": 9.5})
    one, other = Replica(store, "one"), Replica(store, "other")
    one.book.tick()
    other.book.tick()
    assert (one.ids, other.ids) == (["p1", "p2"], [])
    assert [each.label for each in one.counted] == [1.5, 2.5]
    assert one.outcomes["accepted"] == 2
    told = one.book.keep([[Label("p1", 1.5), Label("p2", 3.0)]])[0]
    assert (told.repeated, told.conflicting) == (("p1",), ("p2",))


def test_a_label_may_be_there_before_its_prediction(store: FeatureStore) -> None:
    replica = Replica(store, "one")
    write(store, TRUTH, "symbol", {"e1": 1.0, "e2": 2.0})
    replica.book.tick()
    predict(store, [2])
    replica.book.tick()
    assert replica.ids == ["p2"]


def test_a_null_is_no_label_yet_and_a_later_row_tells_it(store: FeatureStore) -> None:
    predict(store, [1, 2])
    replica = Replica(store, "one", column="next_close")
    write(store, TRUTH, "symbol", {"e1": 1.0, "e2": None}, column="next_close")
    replica.book.tick()
    assert replica.ids == ["p1"]
    write(store, TRUTH, "symbol", {"e2": 2.0}, column="next_close")
    replica.book.tick()
    assert replica.ids == ["p1", "p2"]


def test_a_label_that_cannot_be_is_refused_and_the_others_count(store: FeatureStore) -> None:
    predict(store, [1])
    write(store, TRUTH, "symbol", {"e1": "up"})
    replica = Replica(store, "one")
    replica.book.tick()
    replica.book.tick()
    assert (replica.ids, replica.outcomes) == ([], {"refused": 1})


def test_a_group_without_the_column_is_told_once(
    store: FeatureStore, caplog: pytest.LogCaptureFixture
) -> None:
    write(store, TRUTH, "symbol", {"e1": 1.0})
    replica = Replica(store, "one", column="labl")
    replica.book.tick()
    replica.book.tick()
    assert [each.getMessage() for each in caplog.records] == [
        "labels of feature groups wait: feature group 'truth' has no column 'labl' to take labels from"
    ]


def test_of_a_log_whose_commits_were_vacuumed_the_newest_files_are_read_alone(store: FeatureStore) -> None:
    predict(store, [0])
    replica = Replica(store, "one", remembered=2)
    replica.book.open()
    for number in range(1, 70):
        predict(store, [number])
    (first,) = (
        path
        for path in (store.root / "offline" / LOG).rglob("*.parquet")
        if pq.read_table(path).column("prediction_id").to_pylist() == ["p1"]
    )
    store.vacuum_offline_features(LOG, older_than=timedelta(0))
    first.write_bytes(bytes(first.stat().st_size))
    told = replica.book.keep([[Label("p69", 1.0), Label("p68", 1.0), Label("p67", 1.0)]])[0]
    assert (told.accepted, told.unknown) == (2, ("p67",))


STEPS = st.one_of(
    st.tuples(st.just("predict"), st.integers(0, 5), st.just("")),
    st.tuples(st.just("write"), st.integers(0, 5), st.sampled_from([LABELS, TRUTH])),
    st.tuples(st.just("tell"), st.integers(0, 5), st.sampled_from(["one", "other"])),
    st.tuples(st.sampled_from(["tick", "restart"]), st.just(0), st.sampled_from(["one", "other"])),
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, max_size=10), remembered=st.sampled_from([2, 100]))
def test_each_label_counts_once(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, str]], remembered: int
) -> None:
    store = FeatureStore(tmp_path_factory.mktemp("store"))
    replicas = {name: Replica(store, name, remembered=remembered) for name in ("one", "other")}
    predicted: set[int] = set()
    labelled: set[int] = set()
    for what, number, where in steps:
        if what == "predict" and number not in predicted:
            predict(store, [number])
            predicted.add(number)
        elif what == "write":
            key, first = ("prediction_id", "p") if where == LABELS else ("symbol", "e")
            write(store, where, key, {f"{first}{number}": float(number)})
            labelled.add(number)
        elif what == "tell":
            result = replicas[where].book.keep([[Label(f"p{number}", float(number))]])[0]
            if result.accepted:
                labelled.add(number)
        elif what == "tick":
            replicas[where].book.tick()
        elif what == "restart":
            replicas[where].restart()
    for replica in replicas.values():
        replica.book.tick()
    counted = [one for replica in replicas.values() for one in replica.ids]
    assert len(counted) == len(set(counted))
    if remembered > len(predicted):
        assert sorted(counted) == sorted(f"p{number}" for number in predicted & labelled)
