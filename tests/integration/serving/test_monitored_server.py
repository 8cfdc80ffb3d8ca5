"""A server counts what it is asked and answers: each row and each label once, whatever happens to it."""

import json
import signal
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from integration.serving.adder_traffic import (
    FEATURES,
    MODEL,
    ROWS,
    adder_profile,
    infer,
    label_at,
    normal,
)
from integration.serving.conftest import Started
from prometheus_client.parser import text_string_to_metric_families
from servers.model_server import ModelServer, learnt_metadata, linear_model

from mlinfra.features import FeatureStore
from mlinfra.monitoring.profile import PROFILE_FILE, ReferenceProfile

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


def test_what_is_sent_again_counts_once_also_without_a_log(start: Started) -> None:
    server = start(MLINFRA_PREDICTION_LOG_URI="")
    assert infer(server, normal(ROWS, 3), id="again") == infer(server, normal(ROWS, 3), id="again")
    assert check(server)["rows"] == ROWS


def test_other_rows_under_a_used_id_count_and_are_told_their_own(start: Started) -> None:
    server = start()
    asked = [(1.0, 2.0), (3.0, 4.0), (1.0, 2.0), (3.0, 4.0)]
    answers = [infer_one(server, "used", *values) for values in asked]
    assert [each["id"] for each in answers] == ["used"] * 4
    own = [each.get("parameters", {}).get("prediction_id") for each in answers]
    assert own[0] is None
    assert own[1].startswith("used~")
    assert own[2:] == own[:2]
    assert check(server)["rows"] == 2
    server.stop(signal.SIGKILL)
    server = start()
    again = infer_one(server, "used", 3.0, 4.0)
    assert again["parameters"]["prediction_id"] == own[1]
    body = [{"id": "used", "label": 3.1}, {"id": own[1], "label": 7.1}]
    answer = httpx.post(f"{server.url}{MODEL}/feedback", json=body, timeout=30).json()
    assert (answer["accepted"], answer["uncounted"]) == (2, [])
    assert (check(server)["rows"], check(server)["labelled"]) == (2, 2)


def infer_one(server: ModelServer, id: str, *values: float) -> dict[str, Any]:
    tensor = {"name": "features", "datatype": "FP32", "shape": [1, 1, 2], "data": values}
    answer = httpx.post(f"{server.url}{MODEL}/infer", json={"inputs": [tensor], "id": id})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


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


def test_kill_loses_no_count_of_a_sampled_log(start: Started, tmp_path: Path) -> None:
    sampled = {"MLINFRA_SERVING_LOG_SHARE": "0.2"}
    server = start(**sampled)
    values = {}
    for number in range(40):
        values[number] = infer(server, normal(10, number), id=f"r{number}")
    logged(tmp_path, 400)
    server.stop(signal.SIGKILL)
    server = start(**sampled)
    for number in range(40):
        infer(server, normal(10, number), id=f"r{number}")
        assert label(server, f"r{number}", values[number], off=0.1)["accepted"] == 10
    report = check(server, drift=DRIFT | {"minSamples": 30}, performance=PERFORMANCE)
    assert (report["rows"], report["labelled"]) == (400, 400)
    assert [each["missing"] for each in report["drift"]["windows"][0]["features"]] == [0, 0]
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


def test_live_replicas_add_up_and_take_each_others_labels(start: Started, tmp_path: Path) -> None:
    one, other = start(), start(POD_NAME="other")
    mine = infer(one, normal(ROWS, 3), id="one")
    theirs = infer(other, normal(ROWS, 4), id="other")
    logged(tmp_path, 2 * ROWS)
    # The counts of the other one are read from where it keeps them every few seconds.
    wait_for_rows(one, 2 * ROWS)
    wait_for_rows(other, 2 * ROWS)
    told = [label(other, "one", mine, off=0.1), label(one, "other", theirs, off=0.1)]
    assert [(each["accepted"], each["uncounted"]) for each in told] == [(ROWS, [])] * 2
    wait_for_rows(one, 2 * ROWS, labelled=2 * ROWS)
    wait_for_rows(other, 2 * ROWS, labelled=2 * ROWS)
    reports = [check(each, drift=DRIFT, performance=PERFORMANCE) for each in (one, other)]
    assert reports[0] == reports[1]
    assert reports[0]["performance"]["result"]["outcome"] == "ok"


def wait_for_rows(server: ModelServer, rows: int, *, labelled: int = 0) -> None:
    deadline = time.monotonic() + 30
    while (found := check(server)) and (found["rows"], found["labelled"]) != (rows, labelled):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def test_a_label_of_a_prediction_that_is_no_longer_counted_is_told(start: Started, tmp_path: Path) -> None:
    gone = start()
    values = infer(gone, normal(ROWS, 3), id="gone")
    assert gone.stop() == 0
    server = start(POD_NAME="other", MLINFRA_MONITORING_URI=str(tmp_path / "empty"))
    infer(server, normal(ROWS, 4), id="own", hour=1)
    told = label(server, "gone", values, off=0.1)
    assert (told["accepted"], len(told["uncounted"])) == (ROWS, ROWS)
    assert check(server)["labelled"] == 0
    text = httpx.get(f"{server.url}/metrics").text
    assert f'mlinfra_serving_feedback_labels_total{{outcome="uncounted"}} {float(ROWS)}' in text


def test_the_moment_of_the_request_finds_its_label_after_a_restart(start: Started, tmp_path: Path) -> None:
    server = start()
    tensor = {"name": "features", "datatype": "FP32", "shape": [1, 1, 2], "data": [1.0, 2.0]}
    body = {"inputs": [tensor], "id": "now"}
    assert httpx.post(f"{server.url}{MODEL}/infer", json=body).status_code == 200
    logged(tmp_path, 1)
    assert server.stop() == 0
    server = start()
    check(server)
    answer = httpx.post(f"{server.url}{MODEL}/feedback", json=[{"id": "now", "label": 3.0}], timeout=30)
    assert (answer.json()["accepted"], answer.json()["uncounted"]) == (1, [])
    assert check(server)["labelled"] == 1


def test_a_swap_counts_beside_the_profile_of_the_new_model(start: Started, tmp_path: Path) -> None:
    server = start()
    infer(server, normal(ROWS, 3), id="old")
    before = check(server, drift=DRIFT)
    (tmp_path / "new").mkdir()
    model = linear_model(
        tmp_path / "new" / "adder.onnx", bias=1, features=2, window=1, metadata=learnt_metadata(FEATURES)
    )
    other = adder_profile(mean=3.0)
    (tmp_path / "new" / PROFILE_FILE).write_bytes(other.to_json())
    assert httpx.post(f"{server.url}{MODEL}/swap", json={"model": str(model)}, timeout=30).json()["changed"]
    infer(server, normal(ROWS, 4, mean=3.0), id="new", hour=1)
    after = check(server, drift=DRIFT)
    first = ReferenceProfile.of_json((tmp_path / PROFILE_FILE).read_bytes())
    assert [(each["profile"], each["rows"]) for each in (before, after)] == [
        (first.id, ROWS),
        (other.id, ROWS),
    ]
    # Of the old profile's rows these would be far off.
    assert [each["drift"]["result"]["outcome"] for each in (before, after)] == ["ok", "ok"]
    logged(tmp_path, 2 * ROWS)
    server.stop(signal.SIGKILL)
    server = start(MLINFRA_SERVED_MODEL=str(model))
    found = check(server)
    assert (found["profile"], found["rows"]) == (other.id, ROWS)


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
