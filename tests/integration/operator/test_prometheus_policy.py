"""A policy that asks a real Prometheus trains on a breach, and says by which query."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from integration.operator.manifests import condition, retraining_policy
from integration.operator.policy_status import healthy, lineage, trainings
from servers.prometheus_server import prometheus_server

Object = dict[str, Any]
WINDOW = {"window": {"seconds": 2}, "breachedWindows": 2, "ofWindows": 2}


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[str]:
    with prometheus_server(tmp_path, []) as url:
        yield url


def watched(name: str, address: str, *, drift: str, accuracy: str) -> Object:
    policy = retraining_policy(
        name,
        drift={"threshold": 0.25, **WINDOW},
        performance={"threshold": 0.8, **WINDOW},
        monitoring={
            "intervalSeconds": 1,
            "prometheus": {
                "serverAddress": address,
                "drift": {"query": drift},
                "performance": {"query": accuracy},
            },
        },
    )
    policy["spec"]["trainingJobTemplate"]["spec"]["suspend"] = True
    return policy


async def test_a_breach_trains_and_the_training_tells_query_score_and_window(
    world, operator, prometheus, unique, eventually
) -> None:
    await world.apply(watched(unique, prometheus, drift="vector(0.31)", accuracy="vector(0.9)"))
    found = await healthy(world, eventually, unique, "DriftWithoutLoss")
    assert await trainings(world, unique) == []
    assert (found["status"]["lastDriftScore"], found["status"]["lastPerformanceScore"]) == ("0.31", "0.9")
    await world.apply(watched(unique, prometheus, drift="vector(0.31)", accuracy="vector(0.5)"))
    await healthy(world, eventually, unique, "RetrainingNeeded")

    why = await lineage(world, eventually, unique)
    lost, drift = why["evidence"]
    assert (lost["trigger"], lost["score"], lost["threshold"]) == ("performance", "0.5", "0.8")
    assert "by Prometheus, vector(0.5); below 0.8 in 2 of the newest 2 windows of 2 s" in lost["message"]
    assert "by Prometheus, vector(0.31); above 0.25" in drift["message"]
    ends = [datetime.fromisoformat(lost[name]) for name in ("windowStart", "windowEnd")]
    assert (ends[1] - ends[0]).total_seconds() == 4


async def test_a_query_that_cannot_be_answered_is_told_and_trains_nothing(
    world, operator, prometheus, unique, eventually
) -> None:
    await world.apply(watched(unique, prometheus, drift="max(", accuracy="accuracy_that_nobody_tells"))
    found = await healthy(world, eventually, unique, "CheckFailed")
    messages = condition(found, "ModelHealthy")["message"]
    assert "parse error" in messages
    assert await trainings(world, unique) == []
