"""A policy that asks a real Prometheus trains on a breach, and says by which query."""

from datetime import datetime
from typing import Any

from integration.operator.manifests import condition, watched_policy
from integration.operator.policy_status import healthy, lineage, trainings


def waiting(name: str, address: str, *, drift: str, accuracy: str) -> dict[str, Any]:
    """A policy whose trainings do not begin."""
    policy = watched_policy(name, address, drift=drift, accuracy=accuracy)
    policy["spec"]["trainingJobTemplate"]["spec"]["suspend"] = True
    return policy


async def test_a_breach_trains_and_the_training_tells_query_score_and_window(
    world, operator, prometheus, unique, eventually
) -> None:
    await world.apply(waiting(unique, prometheus, drift="vector(0.31)", accuracy="vector(0.9)"))
    found = await healthy(world, eventually, unique, "DriftWithoutLoss")
    assert await trainings(world, unique) == []
    assert (found["status"]["lastDriftScore"], found["status"]["lastPerformanceScore"]) == ("0.31", "0.9")
    await world.apply(waiting(unique, prometheus, drift="vector(0.31)", accuracy="vector(0.5)"))
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
    await world.apply(waiting(unique, prometheus, drift="max(", accuracy="accuracy_that_nobody_tells"))
    found = await healthy(world, eventually, unique, "CheckFailed")
    messages = condition(found, "ModelHealthy")["message"]
    assert "parse error" in messages
    assert await trainings(world, unique) == []
