"""A server checks rows of a feature group that nobody asked it about."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from integration.serving.adder_traffic import FEATURES, MODEL, ROWS, infer, normal
from integration.serving.conftest import Started
from servers.model_server import ModelServer

from mlinfra.features import FeatureStore

START = datetime(2026, 1, 5, tzinfo=UTC)
NEWEST = {"window": {"rows": ROWS}, "breachedWindows": 1, "ofWindows": 1}
DRIFT = {"method": "PSI", "threshold": 0.3, **NEWEST}
PERFORMANCE = {"metric": "mae", "threshold": 0.5, **NEWEST}


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path / "store")


@pytest.fixture
def server(start: Started, store: FeatureStore) -> ModelServer:
    return start(MLINFRA_FEATURE_STORE_URI=str(store.root))


def write(
    store: FeatureStore,
    rows: np.ndarray[Any, Any],
    *,
    day: int,
    off: float | None = None,
    group: str = "prices",
) -> None:
    """Rows of a day, one each second; their labels are ``off`` more than the model's answers."""
    frame = pd.DataFrame(rows, columns=FEATURES)
    frame["symbol"] = "A"
    frame["event_timestamp"] = [START + timedelta(days=day, seconds=second) for second in range(len(rows))]
    frame["next"] = np.nan if off is None else rows.sum(axis=1).astype(np.float64) + off
    store.write_offline_features(group, frame, entity_column="symbol")


def ask(server: ModelServer, group: dict[str, Any] | None = None, **body: Any) -> httpx.Response:
    return httpx.post(
        f"{server.url}{MODEL}/monitoring", json={"featureGroup": group or {}, **body}, timeout=30
    )


def check(server: ModelServer, group: dict[str, Any] | None = None, **policies: Any) -> dict[str, Any]:
    answer = ask(server, group, **policies)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def outcomes(report: dict[str, Any]) -> tuple[str, str]:
    return report["drift"]["result"]["outcome"], report["performance"]["result"]["outcome"]


def test_the_newest_rows_and_their_labels_decide(server: ModelServer, store: FeatureStore) -> None:
    write(store, normal(2 * ROWS, 3), day=0, off=0.1)
    well = check(server, drift=DRIFT, performance=PERFORMANCE)
    assert outcomes(well) == ("ok", "ok")
    assert (well["modelName"], well["modelVersion"], well["rows"], well["labelled"]) == (
        "adder",
        "1",
        ROWS,
        ROWS,
    )
    write(store, normal(ROWS, 4, mean=3.0), day=1, off=2.0)
    ill = check(server, drift=DRIFT, performance=PERFORMANCE)
    assert outcomes(ill) == ("breached", "breached")
    lost = ill["performance"]["result"]
    assert lost["score"] == pytest.approx(2.0, abs=1e-5)
    assert (lost["metric"], lost["samples"], lost["modelVersion"]) == ("mae", ROWS, "1")
    assert lost["windowStart"] == "2026-01-06T00:00:00Z"
    # What was asked of the server itself is counted apart.
    infer(server, normal(ROWS, 5), id="asked")
    own = httpx.post(f"{server.url}{MODEL}/monitoring", json={"drift": DRIFT}).json()
    assert (own["rows"], own["drift"]["result"]["outcome"]) == (ROWS, "ok")
    assert check(server, drift=DRIFT, performance=PERFORMANCE) == ill


def test_without_labels_performance_is_estimated(server: ModelServer, store: FeatureStore) -> None:
    write(store, normal(ROWS, 4, mean=3.0), day=0)
    report = check(server, {"name": "prices"}, drift=DRIFT, performance=PERFORMANCE)
    assert (report["rows"], report["labelled"]) == (ROWS, 0)
    assert report["drift"]["result"]["outcome"] == "breached"
    assert report["performance"]["result"]["estimated"]
    never = check(server, performance=PERFORMANCE | {"estimate": "Never"})
    assert never["performance"]["result"]["outcome"] == "inconclusive"


def test_labels_of_older_rows_alone_tell_of_those(server: ModelServer, store: FeatureStore) -> None:
    write(store, normal(ROWS, 3), day=0, off=2.0)
    write(store, normal(ROWS, 4), day=1)
    waits = check(server, performance=PERFORMANCE | {"estimate": "Never"})["performance"]["result"]
    assert (waits["outcome"], waits["windowStart"]) == ("breached", "2026-01-05T00:00:00Z")


def test_windows_of_days(server: ModelServer, store: FeatureStore) -> None:
    for day, mean in ((0, 0.0), (1, 3.0), (4, 3.0), (5, 0.0)):
        write(store, normal(ROWS, day, mean=mean), day=day)
    days = DRIFT | {"window": {"seconds": 86_400}, "breachedWindows": 2, "ofWindows": 2}
    drift = check(server, drift=days)["drift"]
    # The newest day has not come to its end, and two days have no rows.
    assert [each["first"][:10] for each in drift["windows"]] == ["2026-01-06", "2026-01-09"]
    assert drift["result"]["outcome"] == "breached"
    later = check(server, drift=days, now="2026-01-11T00:00:00Z")["drift"]
    assert [each["outcome"] for each in later["windows"]] == ["breached", "ok"]


def test_another_group_with_its_own_label(server: ModelServer, store: FeatureStore) -> None:
    write(store, normal(ROWS, 3), day=0, off=2.0, group="batches")
    told = check(server, {"name": "batches", "label": "next"}, performance=PERFORMANCE)
    assert told["performance"]["result"]["outcome"] == "breached"


def test_of_a_sampled_log_the_rows_with_features_decide(start: Started, tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    server = start(MLINFRA_FEATURE_STORE_URI=log, MLINFRA_SERVING_LOG_SHARE="0.2")
    for number in range(200):
        infer(
            server, normal(10, number, mean=3.0 if number >= 100 else 0.0), id=f"r{number}", hour=number // 10
        )
    assert server.stop() == 0
    logged = FeatureStore(tmp_path / "log").read_offline_features("predictions_adder")
    known = int(logged["open"].notna().sum())
    assert (len(logged), 200 < known < 600) == (2000, True)
    server = start(MLINFRA_FEATURE_STORE_URI=log)
    windows = {"window": {"rows": 100}, "minSamples": 100, "breachedWindows": 1, "ofWindows": 1}
    drift = DRIFT | windows
    report = check(server, {"name": "predictions_adder"}, drift=drift)
    assert (report["drift"]["result"]["outcome"], report["drift"]["result"]["samples"]) == ("breached", 100)
    # Where no row has the features nothing is known, and that is no error.
    server = start(
        MLINFRA_PREDICTION_LOG_URI=str(tmp_path / "none"),
        MLINFRA_SERVING_LOG_SHARE="0",
        MLINFRA_FEATURE_STORE_URI=str(tmp_path / "none"),
        POD_NAME="other",
    )
    infer(server, normal(ROWS, 3), id="r")
    assert server.stop() == 0
    server = start(MLINFRA_FEATURE_STORE_URI=str(tmp_path / "none"))
    report = check(server, {"name": "predictions_adder"}, drift=drift)
    assert report["drift"]["result"]["outcome"] == "inconclusive"


@pytest.mark.parametrize(
    ("group", "status", "problem"),
    [
        ({"name": "absent"}, 422, "absent"),
        ({"name": "prices", "label": "nxt"}, 422, "did you mean next?"),
        ({"name": "few"}, 422, "has no feature 'close'"),
        ({"nme": "prices"}, 400, "featureGroup.nme"),
    ],
)
def test_what_cannot_be_checked_is_told(
    server: ModelServer, store: FeatureStore, group: dict[str, Any], status: int, problem: str
) -> None:
    write(store, normal(5, 3), day=0)
    few = pd.DataFrame({"symbol": ["A"], "event_timestamp": [START], "open": [1.0]})
    store.write_offline_features("few", few, entity_column="symbol")
    answer = ask(server, group, drift=DRIFT)
    assert (answer.status_code, problem in answer.json()["error"]) == (status, True), answer.text


def test_too_few_rows_are_inconclusive_and_too_many_are_not_read(
    server: ModelServer, store: FeatureStore
) -> None:
    write(store, normal(5, 3), day=0)
    report = check(server, drift=DRIFT, performance=PERFORMANCE)
    assert outcomes(report) == ("inconclusive", "inconclusive")
    missing = normal(5, 3)
    missing[2, 1] = np.nan
    write(store, missing, day=1)
    answer = ask(server, drift=DRIFT | {"window": {"rows": 5}, "minSamples": 1})
    assert (answer.status_code, "feature 'close' has no value" in answer.json()["error"]) == (422, True)


def test_a_server_without_a_store_is_told(start: Started) -> None:
    answer = ask(start(), drift=DRIFT)
    assert (answer.status_code, answer.json()["reason"]) == (404, "Unsupported")
    assert "MLINFRA_FEATURE_STORE_URI" in answer.json()["error"]
