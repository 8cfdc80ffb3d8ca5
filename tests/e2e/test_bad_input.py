"""Bad input gets one clear message at the earliest place."""

from typing import Any

import numpy as np
import pytest
from e2e.driver import Object, Platform, condition, data, training_job

from mlinfra.datasets import sp500_daily
from mlinfra.features import get_feature_store

REFUSED = {
    "negative-epochs": ({"training": {"epochs": -1}}, "spec.training.epochs"),
    "model-name-with-slash": ({"modelName": "a/b"}, "spec.modelName"),
    "label-among-features": (
        {"data": data(features=["rsi_14", "turbulent"])},
        "the label must not be one of the features",
    ),
    "dates-in-the-wrong-order": (
        {"data": data(startDate="2013-01-01")},
        "startDate must not be after endDate",
    ),
    "unknown-field": ({"epochs": 5}, 'unknown field "spec.epochs"'),
    "nothing-to-run": ({"model": None, "data": None}, "give model and data for the built-in trainer"),
}

FAILING: dict[str, tuple[Object, str, str]] = {
    "unknown-architecture": ({"model": {"architecture": "nope"}}, "UnknownArchitecture", "hybrid_cnn_lstm"),
    "unknown-feature": ({"data": data(features=["rsi_14x"])}, "UnknownFeature", "rsi_14x"),
    "unknown-group": ({"data": data(featureGroup="sp500_dayly")}, "UnknownFeatureGroup", "sp500_daily"),
    "label-missing": ({"data": data(label="calm")}, "MissingLabel", "calm"),
    "empty-date-range": (
        {"data": data(startDate="1990-01-01", endDate="1990-12-31")},
        "EmptyDateRange",
        "1990",
    ),
    "nan-rows": ({"data": data(featureGroup="with_gaps")}, "InvalidRows", "rsi"),
    "image-without-command": (
        {"model": None, "data": None, "image": "example.com/my-training:1"},
        "CommandRequired",
        "set command",
    ),
}


@pytest.mark.parametrize(("changes", "message"), REFUSED.values(), ids=REFUSED)
def test_the_api_server_refuses_what_a_schema_can_see(
    platform: Platform, changes: Object, message: str
) -> None:
    assert message in platform.refused(training_job("refused", **changes))


@pytest.fixture(scope="session")
def failed_jobs(platform: Platform) -> dict[str, Any]:
    """All the TrainingJobs that only the data or the node can refuse, applied at once."""
    rows = sp500_daily()
    feature = next(name for name in rows.columns if name.startswith("rsi"))
    rows.loc[rows.index[2500:2510], feature] = np.nan
    get_feature_store(platform.feature_store).write_offline_features("with_gaps", rows)
    for name, (changes, _, _) in FAILING.items():
        platform.apply(training_job(name, **changes))
    return {name: platform.wait_for_end(name) for name in FAILING}


@pytest.mark.parametrize("name", FAILING)
def test_what_only_the_data_can_tell_becomes_a_condition_and_an_event(
    platform: Platform, failed_jobs: dict[str, Any], name: str
) -> None:
    _, reason, message = FAILING[name]
    failed = condition(failed_jobs[name], "Failed")
    assert failed, failed_jobs[name]["status"]
    assert failed["reason"] == reason
    assert message in failed["message"]
    assert condition(failed_jobs[name], "Stalled")
    events = platform.get("events", "--field-selector", f"involvedObject.name={name},type=Warning")["items"]
    assert [event["reason"] for event in events if event["involvedObject"]["kind"] == "TrainingJob"] == [
        reason
    ]
