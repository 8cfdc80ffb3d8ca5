"""Percent, time left, and the tag that the operator reads."""

import json
from datetime import UTC, datetime

import pytest

from mlinfra.training.progress import Progress, progress_tag, remaining_seconds


@pytest.mark.parametrize(
    ("seconds", "epochs", "left"),
    [
        ([], 10, 0.0),
        ([2.0], 10, 18.0),
        ([9.0, 1.0, 1.0], 5, 2.0),
        ([9.0, 9.0, 9.0, 1.0, 1.0, 1.0, 1.0, 1.0], 10, 2.0),
        ([1.0, 1.0], 2, 0.0),
    ],
)
def test_time_left_follows_the_recent_epochs(seconds: list[float], epochs: int, left: float) -> None:
    assert remaining_seconds(seconds, epochs=epochs) == left


def test_percent_is_rounded_down_and_whole_only_at_the_end() -> None:
    assert Progress(epoch=299, epochs=300, remaining_seconds=1.0, metrics={}).percent == 99
    assert Progress(epoch=12, epochs=30, remaining_seconds=0.0, metrics={}, finished=True).percent == 100


def test_tag_is_the_json_of_the_contract() -> None:
    progress = Progress(epoch=3, epochs=12, remaining_seconds=4.6, metrics={"val_accuracy": 0.84})
    now = datetime(2026, 1, 6, 12, 0, 5, tzinfo=UTC)
    assert json.loads(progress_tag(progress, attempt=2, now=now)) == {
        "attempt": 2,
        "currentEpoch": 3,
        "totalEpochs": 12,
        "progressPercentage": 25,
        "estimatedRemainingSeconds": 5,
        "metrics": {"val_accuracy": 0.84},
        "lastUpdatedTime": "2026-01-06T12:00:05Z",
    }
