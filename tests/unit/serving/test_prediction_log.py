"""The rows that a server logs of what it predicted."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from servers.model_server import learnt_metadata, linear_model

from mlinfra.features import Expectations, FeatureMetadata, FeatureStore
from mlinfra.serving.batch_sources import rows_of_group
from mlinfra.serving.log_rows import has_features
from mlinfra.serving.model_source import ModelSource
from mlinfra.serving.observations import FeedbackResult, Label, Observed, Observer
from mlinfra.serving.prediction_log import PredictionLog
from mlinfra.serving.served_model import ServedModel

GROUP = "predictions_m"
FEATURES = ["open", "close"]
TIME = 1_767_571_200 * 10**9

Open = Callable[..., PredictionLog]


@pytest.fixture
def model(tmp_path: Path) -> ServedModel:
    path = linear_model(tmp_path / "m.onnx", features=2, window=1, metadata=learnt_metadata(FEATURES))
    return ServedModel(ModelSource(str(path)).fetch())


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path / "store")


@pytest.fixture
def outcomes() -> dict[str, int]:
    return {}


@pytest.fixture
def open_log(store: FeatureStore, outcomes: dict[str, int]) -> Open:
    def opened(*, share: float = 1.0, max_rows: int = 1000) -> PredictionLog:
        return PredictionLog(
            store,
            GROUP,
            replica="one",
            share=share,
            seconds=1,
            max_rows=max_rows,
            count=lambda outcome, rows: outcomes.__setitem__(outcome, outcomes.get(outcome, 0) + rows),
        )

    return opened


def observed(model: ServedModel, number: int) -> Observed:
    values = np.array([[[number, 1.0]]], np.float32)
    outputs = [values.sum(axis=(1, 2), keepdims=True)[:, 0]]
    return Observed(model, f"r{number}", TIME + number, {"features": values}, outputs, 1, sequence=number)


def test_rows_without_features_are_no_rows_that_lack_values(
    model: ServedModel, store: FeatureStore, open_log: Open, outcomes: dict[str, int]
) -> None:
    log = open_log(share=0.5)
    log.observe([observed(model, number) for number in range(20)])
    log.flush()
    known = [number for number in range(20) if has_features(f"r{number}", 0.5)]
    assert 0 < len(known) < 20
    assert outcomes == {"written": len(known), "without_features": 20 - len(known)}
    assert len(store.read_offline_features(GROUP)) == 20
    batches = list(rows_of_group(store, GROUP, FEATURES, start=None, end=None))
    values = np.concatenate([each.values for each in batches])
    assert sorted(values[:, 0]) == known
    assert not np.isnan(values).any()


def test_the_columns_of_the_features_are_there_where_none_is_logged(
    model: ServedModel, store: FeatureStore, open_log: Open
) -> None:
    log = open_log(share=0.0)
    log.observe([observed(model, 1)])
    log.flush()
    (row,) = store.read_offline_features(GROUP).to_dict("records")
    assert np.isnan(row["open"])
    assert row["prediction"] == 2.0
    log = open_log(share=1.0)
    log.observe([observed(model, 2)])
    log.flush()
    assert store.read_offline_features(GROUP)["open"].tolist()[1:] == [2.0]


def test_what_was_read_is_logged_whatever_is_expected_of_it(
    model: ServedModel, store: FeatureStore, open_log: Open, outcomes: dict[str, int]
) -> None:
    rules = Expectations(maximum=3.0, max_null_share=0.0)
    store.register_feature(
        FeatureMetadata(
            name="open",
            version="1.0",
            description="a price",
            feature_type="raw",
            data_type="float",
            source="s",
            expectations=rules,
        )
    )
    log = open_log(share=0.5)
    log.observe([observed(model, number) for number in range(10)])
    log.flush()
    assert sum(outcomes.values()) == len(store.read_offline_features(GROUP)) == 10
    assert "refused" not in outcomes


def test_what_does_not_fit_the_buffer_is_counted_and_told(
    model: ServedModel,
    store: FeatureStore,
    open_log: Open,
    outcomes: dict[str, int],
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = open_log(max_rows=3)
    log.observe([observed(model, number) for number in range(5)])
    assert outcomes == {"dropped": 2}
    log.observe([observed(model, 5)])
    assert outcomes == {"dropped": 3}
    (record,) = caplog.records
    assert record.getMessage() == (
        "predictions are dropped from the log to predictions_m, the oldest first: more than 3 wait; "
        "mlinfra_serving_prediction_log_rows_total counts them"
    )
    log.flush()
    assert store.read_offline_features(GROUP)["prediction_id"].tolist() == ["r3", "r4", "r5"]
    assert outcomes == {"dropped": 3, "written": 3}
    log.observe([observed(model, number) for number in range(6, 10)])
    assert len(caplog.records) == 2


def test_what_does_not_fit_the_queue_is_counted_and_told_once(
    model: ServedModel, caplog: pytest.LogCaptureFixture
) -> None:
    dropped: list[int] = []
    observer = Observer([], None, max_rows=1, on_drop=dropped.append)
    two = replace(observed(model, 1), rows=2)
    assert [observer.offer(each) for each in (two, two)] == [False, False]
    observer.close()
    assert dropped == [2, 2]
    assert "mlinfra_serving_prediction_log_rows_total counts them as dropped" in caplog.text


def test_numbers_rise_where_the_clock_is_set_back_after_the_start(model: ServedModel) -> None:
    seconds = iter([1000, 10, 20])
    observer = Observer([], None, max_rows=9, on_drop=lambda _: None, clock=lambda: next(seconds))
    asked = [observed(model, number) for number in range(2)]
    assert all(map(observer.offer, asked))
    observer.close()
    assert 1000 < asked[0].sequence < asked[1].sequence


def test_labels_between_predictions_are_kept_at_once_and_overtake_none(model: ServedModel) -> None:
    go_on = threading.Event()
    taken: list[tuple[str, int]] = []

    class Seen:
        def observe(self, batch: Sequence[Observed]) -> None:
            taken.append(("predictions", len(batch)))

        def tick(self) -> None:
            pass

        def close(self) -> None:
            pass

    def keep(calls: Sequence[Sequence[Label]]) -> list[FeedbackResult]:
        taken.append(("labels", len(calls)))
        return [FeedbackResult(accepted=len(labels)) for labels in calls]

    observer = Observer([Seen()], keep, max_rows=100, on_drop=lambda _: None)
    busy = threading.Event()
    observer.call(lambda: (busy.set(), go_on.wait(30)))
    assert busy.wait(30)
    for number in range(3):
        observer.offer(observed(model, number))
        observer.feedback([Label(f"r{number}", 1.0)])
    check = observer.call(lambda: taken.append(("check", 1)))
    observer.feedback([Label("r0", 1.0)])
    observer.offer(observed(model, 3))
    go_on.set()
    check.result(30)
    observer.close()
    assert taken == [("predictions", 3), ("labels", 3), ("check", 1), ("predictions", 1), ("labels", 1)]
