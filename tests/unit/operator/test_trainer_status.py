"""Progress from MLflow runs: by the trainer's tag, or by what an own script logs."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.entities import Metric, Param, RunData, RunInfo, RunTag
from mlflow.entities import Run as MlflowRun
from unit.operator.objects import run, training_job

from mlinfra.resources.training_job_status import TrainerStatus
from mlinfra.tracking.contract import ATTEMPT_TAG, PROGRESS_TAG
from mlinfra_operator.runtime.mlflow_calls import run_of
from mlinfra_operator.tracking import MOST_POINTS, Point, Run, reread
from mlinfra_operator.trainingjob.progress import attempt_of, final_status, trainer_status

SPEC = training_job().spec
WITH_EPOCHS = training_job(training={"epochs": 20}).spec
TAG = {
    "attempt": 2,
    "currentEpoch": 3,
    "totalEpochs": 10,
    "progressPercentage": 30,
    "estimatedRemainingSeconds": 7,
    "metrics": {"val_accuracy": 0.5},
    "lastUpdatedTime": "2026-01-01T00:00:00Z",
}


def tagged(attempt: str | None = "2", **changed: Any) -> dict[str, str]:
    tags = {PROGRESS_TAG: json.dumps(TAG | changed)}
    return tags if attempt is None else tags | {ATTEMPT_TAG: attempt}


def test_the_trainers_tag_tells_all() -> None:
    status = trainer_status(run(tags=tagged()), SPEC)
    assert status is not None
    assert status.to_wire() == {
        "progressPercentage": 30,
        "estimatedRemainingSeconds": 7,
        "currentEpoch": 3,
        "totalEpochs": 10,
        "metrics": [{"name": "val_accuracy", "value": "0.5"}],
        "lastUpdatedTime": "2026-01-01T00:00:00Z",
    }


def test_what_a_newer_trainer_adds_is_ignored() -> None:
    assert trainer_status(run(tags=tagged(novelty=1)), SPEC) is not None


@pytest.mark.parametrize(
    "tags",
    [
        {PROGRESS_TAG: "not JSON"},
        {PROGRESS_TAG: "[]"},
        tagged(currentEpoch=-1),
        tagged(totalEpochs=0),
        tagged(progressPercentage=101),
        tagged(lastUpdatedTime="yesterday"),
        tagged(lastUpdatedTime="2026-02-30T00:00:00Z"),
        tagged(estimatedRemainingSeconds=2**63),
        tagged(totalEpochs=2**63),
        tagged(attempt="3"),  # of an attempt before the one that writes now
    ],
)
def test_a_tag_that_breaks_the_contract_or_is_out_of_date_tells_nothing(tags: dict[str, str]) -> None:
    assert trainer_status(run(tags=tags), SPEC) is None


@pytest.mark.parametrize("attempt", [None, "1", "2", "nonsense"])
def test_a_tag_of_the_current_attempt_counts(attempt: str | None) -> None:
    assert trainer_status(run(tags=tagged(attempt)), SPEC) is not None


def logged(
    *metrics: tuple[str, float, int, int],
    params: dict[str, str] | None = None,
    tags: dict[str, str] | None = None,
) -> Run:
    """A run as MLflow tells it: of each metric name, value, milliseconds and step of the latest value."""
    data = RunData(
        metrics=[Metric(*each) for each in metrics],
        params=[Param(*each) for each in (params or {}).items()],
        tags=[RunTag(*each) for each in (tags or {}).items()],
    )
    info = RunInfo("run", "1", "user", "RUNNING", 0, None, "active")
    return run_of(MlflowRun(info, data))


def read_in_turn(*runs: Run) -> Run:
    found = runs[0]
    for each in runs[1:]:
        found = reread(found, each)
    return found


def told(found: Run, spec: Any = SPEC, before: TrainerStatus | None = None) -> TrainerStatus:
    status = trainer_status(found, spec, before)
    assert status is not None
    return status


@pytest.mark.parametrize(
    ("epoch", "params", "spec", "done"),
    [
        (None, {"epochs": "10"}, SPEC, (None, None, None)),
        (5.0, {}, SPEC, (5, None, None)),
        (5.0, {"epochs": "10"}, SPEC, (5, 10, 50)),
        (5.0, {"max_epochs": "20"}, SPEC, (5, 20, 25)),
        (2.0, {"num_train_epochs": "3", "max_steps": "-1"}, SPEC, (2, 3, 66)),
        (1.25, {"num_train_epochs": "2.5"}, SPEC, (1, 3, 50)),
        (5.0, {"epochs": "many", "max_epochs": "20"}, SPEC, (5, 20, 25)),
        (5.0, {"epochs": "1e3"}, SPEC, (5, None, None)),
        (5.0, {"epochs": "0"}, SPEC, (5, None, None)),
        (5.0, {}, WITH_EPOCHS, (5, 20, 25)),
        (30.0, {"epochs": "10"}, SPEC, (30, 10, 100)),
        (-1.0, {"epochs": "10"}, SPEC, (None, None, None)),
        (float("nan"), {"epochs": "10"}, SPEC, (None, None, None)),
        (float("inf"), {"epochs": "10"}, SPEC, (None, None, None)),
    ],
)
def test_an_own_script_is_followed_by_its_epoch_metric(
    epoch: float | None,
    params: dict[str, str],
    spec: Any,
    done: tuple[int | None, int | None, int | None],
) -> None:
    metrics = [("loss", 0.1, 1000, 7)] + ([("epoch", epoch, 1000, 7)] if epoch is not None else [])
    status = told(logged(*metrics, params=params), spec)
    assert (status.current_epoch, status.total_epochs, status.progress_percentage) == done
    assert [metric.name for metric in status.metrics] == sorted(each[0] for each in metrics)
    assert status.last_updated_time == "1970-01-01T00:00:01Z"


@pytest.mark.parametrize(
    ("metrics", "params", "tags", "percent"),
    [
        # transformers: the limit of steps counts, whatever its epochs.
        (
            [("loss", 1.0, 0, 50), ("epoch", 0.4, 0, 50)],
            {"max_steps": "200", "num_train_epochs": "3"},
            {},
            25,
        ),
        ([("loss", 1.0, 0, 50)], {"max_steps": "200"}, {}, 25),
        # Logged without a step: nothing is known of steps.
        ([("loss", 1.0, 0, 0)], {"max_steps": "200"}, {}, None),
        ([("system/cpu", 1.0, 0, 90), ("loss", 1.0, 0, 50)], {"max_steps": "200"}, {}, 25),
        ([("system/cpu", 1.0, 0, 90)], {"max_steps": "200"}, {}, None),
        # Lightning's and Keras' autologging: the step is the number of the epoch that ended.
        ([("loss", 1.0, 0, 0)], {"epochs": "4"}, {"mlflow.autologging": "pytorch", "Mode": "training"}, 25),
        ([("loss", 1.0, 0, 0)], {"epochs": "4"}, {"mlflow.autologging": "pytorch"}, None),
        ([("loss", 1.0, 0, 3)], {"epochs": "4"}, {"mlflow.autologging": "keras"}, 100),
        ([("loss", 1.0, 0, 4)], {"epochs": "4"}, {"mlflow.autologging": "tensorflow"}, None),
        ([("loss", 1.0, 0, 1)], {"epochs": "4"}, {"mlflow.autologging": "xgboost"}, None),
        # A step may count anything elsewhere.
        ([("loss", 1.0, 0, 1)], {"epochs": "4"}, {}, None),
    ],
)
def test_steps_tell_of_progress_where_it_is_known_what_they_count(
    metrics: Sequence[tuple[str, float, int, int]],
    params: dict[str, str],
    tags: dict[str, str],
    percent: int | None,
) -> None:
    assert told(logged(*metrics, params=params, tags=tags)).progress_percentage == percent


def test_the_time_left_follows_the_pace_of_what_was_seen() -> None:
    params = {"epochs": "10"}
    found = logged(("epoch", 1, 60_000, 1), params=params)
    assert told(found).estimated_remaining_seconds is None
    # Losses of many steps within an epoch take no part in it.
    for step in range(2, 20):
        now = logged(("epoch", 1, 60_000, 1), ("loss", 1.0, 60_000 + step, step), params=params)
        found = reread(found, now)
    found = reread(found, logged(("epoch", 2, 90_000, 20), params=params))
    assert told(found).estimated_remaining_seconds == 8 * 30
    # One epoch that took long, such as one with a pause in it, does not shift it.
    found = reread(found, logged(("epoch", 3, 120_000, 30), params=params))
    found = reread(found, logged(("epoch", 4, 900_000, 40), params=params))
    assert told(found).estimated_remaining_seconds == 6 * 30
    assert (
        told(reread(found, logged(("epoch", 10, 990_000, 90), params=params))).estimated_remaining_seconds
        == 0
    )


def test_an_attempt_that_begins_anew_has_a_pace_of_its_own() -> None:
    params = {"epochs": "10"}
    before = [logged(("epoch", each, 1000 * each, each), params=params) for each in (1, 2, 3)]
    again = logged(("epoch", 1, 60_000, 1), params=params)
    assert told(read_in_turn(*before, again)).estimated_remaining_seconds is None
    went_on = logged(("epoch", 2, 80_000, 2), params=params)
    assert told(read_in_turn(*before, again, went_on)).estimated_remaining_seconds == 8 * 20


def test_a_restarted_operator_tells_the_same_until_it_sees_a_pace() -> None:
    params = {"max_steps": "100"}
    seen = [logged(("loss", 1.0, 1000 * step, step), params=params) for step in (10, 20)]
    known = told(read_in_turn(*seen))
    assert known.estimated_remaining_seconds == 80
    assert told(seen[-1], before=known) == known
    later = logged(("loss", 1.0, 30_000, 30), params=params)
    assert told(later, before=known).estimated_remaining_seconds is None


@pytest.mark.parametrize("milliseconds", [-5, 10**17])
def test_impossible_times_of_metrics_are_not_told(milliseconds: int) -> None:
    assert told(logged(("loss", 1.0, milliseconds, 1))).last_updated_time is None


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 10**6)), min_size=1, max_size=30),
    st.integers(1, 20),
)
def test_whatever_a_script_logs_the_status_is_one_that_the_api_server_takes(
    points: list[tuple[int, int]], total: int
) -> None:
    found = read_in_turn(
        *(logged(("epoch", epoch, at, epoch), params={"epochs": str(total)}) for epoch, at in points)
    )
    status = told(found)
    assert TrainerStatus.model_validate(status.to_wire()) == status
    assert len(found.epochs) <= MOST_POINTS
    assert all(
        earlier.count < later.count and earlier.milliseconds < later.milliseconds
        for earlier, later in zip(found.epochs, found.epochs[1:], strict=False)
    )
    assert found.epochs[-1].count == points[-1][0]


@pytest.mark.parametrize(
    ("points", "params", "left"),
    [
        ([(0.0, 0), (1e-310, 1000)], {"epochs": "10"}, None),
        ([(0.0, 0), (1e-12, 1000)], {"epochs": "10"}, 2**31 - 1),
        ([(0.0, -(2**63)), (1.0, 2**63 - 1)], {"epochs": "999999999"}, 2**31 - 1),
    ],
)
def test_an_odd_pace_tells_no_more_time_than_a_status_may_hold(
    points: list[tuple[float, int]], params: dict[str, str], left: int | None
) -> None:
    seen = (logged(("epoch", count, at, 0), params=params) for count, at in points)
    assert told(read_in_turn(*seen)).estimated_remaining_seconds == left


def test_autologged_steps_before_the_first_are_no_epochs() -> None:
    found = logged(("loss", 1.0, 0, -2), params={"epochs": "4"}, tags={"mlflow.autologging": "keras"})
    assert told(found).to_wire() == {
        "metrics": [{"name": "loss", "value": "1"}],
        "lastUpdatedTime": "1970-01-01T00:00:00Z",
    }


INT64 = st.integers(-(2**63), 2**63 - 1)
ANY_NUMBER = st.one_of(st.floats(), st.sampled_from([0.0, 1e-310, 1e-12, 1.0, 3.0, 1e300]))
SMALL_OR_ANY = st.one_of(st.integers(-5, 20), INT64)


@given(
    points=st.lists(
        st.tuples(st.sampled_from(["epoch", "loss"]), ANY_NUMBER, SMALL_OR_ANY, SMALL_OR_ANY),
        min_size=1,
        max_size=6,
    ),
    params=st.dictionaries(
        st.sampled_from(["epochs", "max_epochs", "max_steps"]),
        st.one_of(st.sampled_from(["3", "0.000000001", "999999999.9", "-1"]), st.text(max_size=5)),
    ),
    flavor=st.sampled_from(["", "keras"]),
    spec=st.sampled_from([SPEC, WITH_EPOCHS]),
)
def test_no_number_that_a_script_logs_wedges_its_training(
    points: list[tuple[str, float, int, int]], params: dict[str, str], flavor: str, spec: Any
) -> None:
    tags = {"mlflow.autologging": flavor}
    found = read_in_turn(*(logged(each, params=params, tags=tags) for each in points))
    for status in (told(found, spec), final_status(found, spec)):
        assert status is not None
        assert TrainerStatus.model_validate(status.to_wire()) == status
        assert all(value < 2**31 for value in status.to_wire().values() if isinstance(value, int))


def test_of_a_run_that_the_trainer_tells_of_no_points_are_kept() -> None:
    assert logged(("epoch", 3, 1, 1), tags=tagged()).epochs == ()
    kept = replace(run(), epochs=(Point(1, 1),))
    assert reread(kept, run()).epochs == ()


def test_nothing_logged_is_no_progress() -> None:
    assert trainer_status(run(), SPEC) is None
    assert final_status(run(), SPEC) is None


def test_a_complete_training_is_at_100_percent_with_all_final_metrics() -> None:
    status = final_status(run(tags=tagged(), metrics={"test_accuracy": 0.9, "val_accuracy": 0.4}), SPEC)
    assert status is not None
    assert (status.progress_percentage, status.estimated_remaining_seconds) == (100, 0)
    assert {metric.name: metric.value for metric in status.metrics} == {
        "test_accuracy": "0.9",
        "val_accuracy": "0.5",
    }


@pytest.mark.parametrize(
    ("tags", "attempt"),
    [
        ({}, 0),
        ({ATTEMPT_TAG: "3"}, 3),
        ({ATTEMPT_TAG: "9" * 5000}, 0),
        ({ATTEMPT_TAG: "-1"}, 0),
        ({ATTEMPT_TAG: "x"}, 0),
    ],
)
def test_the_attempt_is_a_tag_of_the_run(tags: dict[str, str], attempt: int) -> None:
    assert attempt_of(run(tags=tags)) == attempt


def test_without_a_run_there_was_no_attempt() -> None:
    assert attempt_of(None) == 0
