"""A server counts what it is asked and answers: each row and each label once, whatever happens to it."""

import json
import signal
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from integration.serving.adder_traffic import FEATURES, MODEL, ROWS, infer, label_at, normal
from integration.serving.conftest import Started
from prometheus_client.parser import text_string_to_metric_families
from servers.model_server import ModelServer

from mlinfra.features import FeatureStore
from mlinfra.monitoring.profile import PROFILE_FILE

DRIFT = {"method": "PSI", "threshold": 0.3, "window": {"rows": 400}, "breachedWindows": 1, "ofWindows": 1}
PERFORMANCE = {
    "metric": "mae",
    "threshold": 0.5,
    "window": {"rows": 400},
    "breachedWindows": 1,
    "ofWindows": 1,
}


def label(server: ModelServer, id: str, values: list[float], *, off: float) -> dict[str, Any]:
    return label_at(f"{server.url}{MODEL}", id, values, off=off)


def check(server: ModelServer, **policies: Any) -> dict[str, Any]:
    answer = httpx.post(f"{server.url}{MODEL}/monitoring", json=policies, timeout=30)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def logged(tmp_path: Path, rows: int) -> None:
    """Until so many predictions are in the log."""
    store = FeatureStore(tmp_path / "log")
    deadline = time.monotonic() + 30
    while "predictions_adder" not in store.list_feature_groups() or (
        len(store.read_offline_features("predictions_adder", columns=[])) < rows
    ):
        assert time.monotonic() < deadline, "the predictions were never logged"
        time.sleep(0.05)


def test_drift_and_performance_are_told(start: Started) -> None:
    server = start()
    values = infer(server, normal(ROWS, 3), id="same")
    assert label(server, "same", values, off=0.1)["accepted"] == ROWS
    report = check(server, drift=DRIFT, performance=PERFORMANCE)
    assert (report["modelName"], report["modelVersion"]) == ("adder", "1")
    assert (report["rows"], report["labelled"]) == (ROWS, ROWS)
    assert report["drift"]["result"]["outcome"] == "ok"
    assert report["performance"]["result"]["outcome"] == "ok"
    values = infer(server, normal(ROWS, 4, mean=3.0), id="other", hour=1)
    label(server, "other", values, off=2.0)
    report = check(server, drift=DRIFT, performance=PERFORMANCE)
    assert report["drift"]["result"]["outcome"] == "breached"
    assert report["performance"]["result"]["outcome"] == "breached"


def test_what_is_sent_again_counts_once(start: Started) -> None:
    server = start()
    values = infer(server, normal(ROWS, 3), id="again")
    assert infer(server, normal(ROWS, 3), id="again") == values
    label(server, "again", values, off=0.1)
    assert len(label(server, "again", values, off=0.1)["repeated"]) == ROWS
    report = check(server)
    assert (report["rows"], report["labelled"]) == (ROWS, ROWS)


def test_kill_loses_no_count_and_counts_none_twice(start: Started, tmp_path: Path) -> None:
    server = start()
    values = {}
    for number in range(4):
        values[number] = infer(server, normal(ROWS, number), id=f"r{number}", hour=number)
        logged(tmp_path, ROWS * (number + 1))
        assert label(server, f"r{number}", values[number], off=0.1)["accepted"] == ROWS
        server.stop(signal.SIGKILL)
        server = start()
        # A client that got no answer asks once more.
        infer(server, normal(ROWS, number), id=f"r{number}", hour=number)
        assert len(label(server, f"r{number}", values[number], off=0.1)["repeated"]) == ROWS
    report = check(server, drift=DRIFT, performance=PERFORMANCE)
    assert (report["rows"], report["labelled"]) == (4 * ROWS, 4 * ROWS)
    assert report["performance"]["result"]["outcome"] == "ok"


def test_rows_of_one_request_are_not_counted_again_after_an_orderly_end(start: Started) -> None:
    server = start()
    infer(server, normal(ROWS, 3), id="before")
    assert server.stop() == 0
    server = start()
    assert check(server)["rows"] == ROWS


def test_what_a_check_told_of_is_known_after_a_kill(start: Started) -> None:
    seldom = {"MLINFRA_SERVING_LOG_SECONDS": "3600"}
    server = start(**seldom)
    values = infer(server, normal(ROWS, 3), id="told")
    assert check(server)["rows"] == ROWS
    infer(server, normal(ROWS, 4), id="not told", hour=1)
    server.stop(signal.SIGKILL)
    server = start(**seldom)
    assert check(server)["rows"] == ROWS
    infer(server, normal(ROWS, 3), id="told")
    assert label(server, "told", values, off=0.1)["accepted"] == ROWS
    assert label(server, "not told", values, off=0.1)["unknown"]
    infer(server, normal(ROWS, 4), id="not told", hour=1)
    report = check(server)
    assert (report["rows"], report["labelled"]) == (2 * ROWS, ROWS)


def test_replicas_add_up_and_take_each_others_labels(start: Started, tmp_path: Path) -> None:
    one = start()
    values = infer(one, normal(ROWS, 3), id="one")
    assert one.stop() == 0
    other = start(POD_NAME="other")
    infer(other, normal(ROWS, 4), id="other", hour=1)
    assert label(other, "one", values, off=0.1)["accepted"] == ROWS
    report = check(other, performance=PERFORMANCE)
    assert (report["rows"], report["labelled"]) == (2 * ROWS, ROWS)
    assert report["performance"]["result"]["outcome"] == "ok"


def test_a_profile_of_another_release_is_told(start: Started, tmp_path: Path) -> None:
    file = tmp_path / PROFILE_FILE
    file.write_text(json.dumps(json.loads(file.read_bytes()) | {"schemaVersion": 99}))
    server = start()
    assert len(infer(server, normal(2, 3), id="a")) == 2
    answer = httpx.post(f"{server.url}{MODEL}/monitoring", json={"drift": DRIFT})
    assert (answer.status_code, answer.json()["reason"]) == (404, "Unsupported")
    assert "version 1 of adder is not watched" in answer.json()["error"]


def test_a_model_without_a_profile_is_told(adder: ModelServer) -> None:
    answer = httpx.post(f"{adder.url}{MODEL}/monitoring", json={})
    assert "it has no reference profile" in answer.json()["error"]


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"drift": {"method": "Guess"}}, "drift"),
        ({"dirft": {}}, "a check has drift, performance, featureGroup, now"),
        ({"drift": {"threshold": -1}}, "threshold"),
        ({"featureGroup": {"name": "a/b"}}, "featureGroup.name"),
        ({"now": "yesterday"}, "event_timestamp is a moment"),
    ],
)
def test_a_bad_check_is_told(adder: ModelServer, body: dict[str, Any], problem: str) -> None:
    answer = httpx.post(f"{adder.url}{MODEL}/monitoring", json=body)
    assert (answer.status_code, problem in answer.json()["error"]) == (400, True), answer.text


def gauges(server: ModelServer) -> dict[tuple[str, ...], float]:
    """Monitoring's, by name and the labels other than model and version, by their names."""
    found = {}
    for family in text_string_to_metric_families(httpx.get(f"{server.url}/metrics").text):
        for sample in family.samples:
            if sample.name.startswith("mlinfra_monitoring_"):
                labels = dict(sorted(sample.labels.items()))
                assert (labels.pop("model"), labels.pop("version")) == ("adder", "1")
                found[(sample.name.removeprefix("mlinfra_monitoring_"), *labels.values())] = sample.value
    return found


def test_prometheus_is_told_of_the_newest_check(start: Started) -> None:
    server = start()
    answers = infer(server, normal(ROWS, 3, mean=3.0), id="far")
    label(server, "far", answers, off=2.0)
    assert gauges(server) == {}
    report = check(server, drift=DRIFT, performance=PERFORMANCE)
    told, window = gauges(server), report["drift"]["windows"][-1]
    scores = {each["name"]: each["score"] for each in window["features"]}
    assert scores == {name: told["drift_score", name, "PSI"] for name in FEATURES}
    assert told["drift_threshold", "open", "PSI"] == 0.3
    assert told["drifted_features_ratio", "PSI"] == 1
    assert told["performance", "mae", "measured"] == pytest.approx(2.0, abs=1e-5)
    assert told["performance_breached", "mae"] == 1
    assert (told["rows",], told["labels",]) == (ROWS, ROWS)
