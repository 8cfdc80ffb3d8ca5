"""What one object says of itself."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlinfra.cli.object_summary import LONGEST_LINE, Summary, age_of, summary_of

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def obj(kind: str, *, spec: Any = None, deleted: bool = False, **status: Any) -> dict[str, Any]:
    metadata = {"name": "x"} | ({"deletionTimestamp": "2026-03-01T00:00:00Z"} if deleted else {})
    return {"kind": kind, "metadata": metadata, "spec": spec or {}, "status": status}


def condition(type_: str, status: str = "True", reason: str = "", message: str = "") -> dict[str, str]:
    return {"type": type_, "status": status, "reason": reason, "message": message}


OWN = {
    "nothing yet": (obj("TrainingJob"), Summary()),
    "waits": (
        obj(
            "TrainingJob",
            phase="Pending",
            conditions=[
                condition("Ready", "False", "Progressing"),
                condition("Reconciling", "True", "Unschedulable", "no node"),
            ],
        ),
        Summary("Pending", "False", "Unschedulable", "no node"),
    ),
    "failed": (
        obj(
            "TrainingJob",
            phase="Failed",
            conditions=[condition("Ready", "False", "X"), condition("Failed", "True", "Bad", "exit 78")],
        ),
        Summary("Failed", "False", "Bad", "exit 78"),
    ),
    "ready": (
        obj(
            "ModelVersion",
            phase="Production",
            conditions=[condition("Ready", "True", "Promoted", "in Production")],
        ),
        Summary("Production", "True", "Promoted", "in Production"),
    ),
    "not ready, and nothing else": (
        obj("RetrainingPolicy", phase="Held", conditions=[condition("Ready", "False", "Cooldown", "later")]),
        Summary("Held", "False", "Cooldown", "later"),
    ),
}
CHILDREN = {
    "running Job": (obj("Job", spec={"completions": 2}, active=2, ready=1), Summary("Running", "1/2")),
    "Job without pods": (obj("Job"), Summary("Pending", "0/1")),
    "complete Job": (
        obj("Job", succeeded=1, conditions=[condition("Complete", "True", "CompletionsReached", "all")]),
        Summary("Complete", "1/1", "CompletionsReached"),
    ),
    "failed Job": (
        obj("Job", conditions=[condition("Failed", "True", "BackoffLimitExceeded", "too often")]),
        Summary("Failed", "0/1", "BackoffLimitExceeded", "too often"),
    ),
    "unschedulable pod": (
        obj(
            "Pod",
            spec={"containers": [{}]},
            phase="Pending",
            conditions=[condition("PodScheduled", "False", "Unschedulable", "0/3 nodes")],
        ),
        Summary("Pending", "0/1", "Unschedulable", "0/3 nodes"),
    ),
    "pod without its image": (
        obj(
            "Pod",
            spec={"containers": [{}]},
            phase="Pending",
            containerStatuses=[{"ready": False, "state": {"waiting": {"reason": "ImagePullBackOff"}}}],
        ),
        Summary("Pending", "0/1", "ImagePullBackOff"),
    ),
    "pod out of memory": (
        obj(
            "Pod",
            spec={"containers": [{}]},
            phase="Failed",
            containerStatuses=[{"state": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}],
        ),
        Summary("Failed", "0/1", "OOMKilled", "exit code 137"),
    ),
    "evicted pod": (
        obj("Pod", spec={"containers": [{}]}, phase="Failed", reason="Evicted", message="disk"),
        Summary("Failed", "0/1", "Evicted", "disk"),
    ),
    "pod that ended well": (
        obj(
            "Pod",
            spec={"containers": [{}]},
            phase="Succeeded",
            containerStatuses=[{"state": {"terminated": {"reason": "Completed", "exitCode": 0}}}],
        ),
        Summary("Succeeded", "0/1"),
    ),
    "pod that goes": (obj("Pod", deleted=True, phase="Running"), Summary("Terminating", "0/0")),
    "Deployment": (
        obj(
            "Deployment",
            spec={"replicas": 2},
            readyReplicas=2,
            conditions=[condition("Available"), condition("Progressing", "True", "NewReplicaSetAvailable")],
        ),
        Summary("Available", "2/2"),
    ),
    "Deployment that does not come up": (
        obj(
            "Deployment",
            conditions=[
                condition("Available", "False", "MinimumReplicasUnavailable", "none"),
                condition("Progressing", "False", "ProgressDeadlineExceeded", "late"),
            ],
        ),
        Summary("Unavailable", "0/1", "ProgressDeadlineExceeded", "late"),
    ),
    "Deployment scaled to none": (obj("Deployment", spec={"replicas": 0}), Summary("Unavailable", "0/0")),
    "Service": (obj("Service", spec={"type": "ClusterIP"}), Summary("ClusterIP")),
    "autoscaler": (
        obj(
            "HorizontalPodAutoscaler",
            spec={"minReplicas": 2, "maxReplicas": 4},
            currentReplicas=2,
            desiredReplicas=3,
        ),
        Summary("", "2/3", "", "2 to 4 replicas"),
    ),
    "unknown kind": (obj("ConfigMap"), Summary()),
}


@pytest.mark.parametrize(("found", "expected"), [*OWN.values(), *CHILDREN.values()], ids=[*OWN, *CHILDREN])
def test_summary(found: dict[str, Any], expected: Summary) -> None:
    assert summary_of(found) == expected


@given(st.text(), st.text())
def test_why_is_one_short_line(reason: str, message: str) -> None:
    why = Summary(reason=reason, message=message).why
    assert len(why.splitlines()) <= 1
    assert len(why) <= LONGEST_LINE


def test_of_a_long_message_beginning_and_end_are_told() -> None:
    why = Summary(reason="Failed", message="exit code 3: " + "epoch\n" * 99 + "out of memory").why
    assert why.startswith("Failed: exit code 3: epoch epoch")
    assert " … " in why
    assert why.endswith("out of memory")


@pytest.mark.parametrize(
    ("seconds", "age"),
    [
        (0, "0s"),
        (59, "59s"),
        (60, "1m"),
        (200, "3m20s"),
        (660, "11m"),
        (3 * 3600 + 300, "3h5m"),
        (12 * 3600 + 300, "12h"),
        (86400 + 3600, "1d1h"),
        (40 * 86400, "40d"),
        (-5, "0s"),
    ],
)
def test_age(seconds: int, age: str) -> None:
    assert age_of((NOW - timedelta(seconds=seconds)).isoformat(), NOW) == age


@given(st.integers(0, 10**9))
def test_an_age_is_never_too_long_ago_and_never_off_by_a_tenth(seconds: int) -> None:
    age = age_of((NOW - timedelta(seconds=seconds)).isoformat(), NOW)
    told, digits = 0, ""
    for character in age:
        if character.isdigit():
            digits += character
        else:
            told += int(digits) * {"d": 86400, "h": 3600, "m": 60, "s": 1}[character]
            digits = ""
    assert told <= seconds <= told * 1.1
