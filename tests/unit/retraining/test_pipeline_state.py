"""What a pipeline remembers comes back as it was, and what is none is told."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlinfra.retraining.decision import Training
from mlinfra.retraining.observation import Breaker, Trial, Watch
from mlinfra.retraining.pipeline_state import (
    TRAININGS_REMEMBERED,
    PipelineState,
    PipelineStateError,
    load_state,
    save_state,
)
from mlinfra.retraining.triggers import MonitorOutcome, MonitorResult, RetrainingTrigger

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)).map(lambda each: each.replace(tzinfo=UTC))
BASELINE = MonitorResult(
    RetrainingTrigger.PERFORMANCE, MonitorOutcome.OK, NOW, score=0.8, metric="accuracy", model_version="1"
)
TRAININGS = st.builds(
    Training,
    name=st.text(max_size=5),
    started=MOMENTS,
    active=st.just(False),
    events_until=st.none() | MOMENTS,
    fruitless=st.none() | st.booleans(),
)
TRIALS = st.builds(
    Trial,
    version=st.just("2"),
    previous=st.just("1"),
    since=MOMENTS,
    until=MOMENTS,
    baseline=st.just(BASELINE),
)
BREAKERS = st.builds(Breaker, opened=MOMENTS, version=st.just("2"), message=st.text(max_size=9))


@given(
    state=st.builds(
        PipelineState,
        since=st.none() | MOMENTS,
        trainings=st.lists(TRAININGS, max_size=4),
        watch=st.builds(Watch, trial=st.none() | TRIALS, breaker=st.none() | BREAKERS),
        restore=st.none() | st.just("1"),
        failure=st.none() | st.just("OSError: no space"),
    )
)
def test_what_is_kept_comes_back(state: PipelineState) -> None:
    wire = json.loads(json.dumps(state.to_wire("config")))
    assert PipelineState.of_wire(wire, "config") == state
    other = PipelineState.of_wire(wire, "another config")
    assert {each.fruitless for each in other.trainings} <= {None}
    assert other.watch == state.watch


def test_what_an_earlier_release_kept_is_read(tmp_path: Path) -> None:
    file = tmp_path / "m.json"
    kept = {"since": None, "trainings": [{"name": "a", "started": NOW.isoformat(), "eventsUntil": None}]}
    file.write_text(json.dumps(kept))
    assert load_state(file, "c") == PipelineState(trainings=[Training("a", NOW, active=False)])
    assert load_state(tmp_path / "none.json", "c") is None


def test_the_newest_trainings_are_kept(tmp_path: Path) -> None:
    trainings = [Training(f"{number}", NOW + timedelta(hours=number), active=False) for number in range(150)]
    save_state(tmp_path / "m.json", PipelineState(trainings=trainings), "c")
    again = load_state(tmp_path / "m.json", "c")
    assert again is not None
    assert again.trainings == trainings[-TRAININGS_REMEMBERED:]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"since": 5, "trainings": []}',
        '{"since": null, "trainings": [{}]}',
        '{"since": null, "trainings": [], "trial": {"version": "1"}}',
    ],
)
def test_what_cannot_be_read_is_told(content: str, tmp_path: Path) -> None:
    file = tmp_path / "m.json"
    file.write_text(content)
    with pytest.raises(PipelineStateError, match="Repair it, or remove it"):
        load_state(file, "c")
