"""Monitors whose trainings did not help wait longer before they ask again."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from unit.operator.test_policy_monitoring import ENDED, WATCHING, result, stored, told
from unit.operator.test_retrainingpolicy_plan import NOW, planned, policy, request_of

from mlinfra.retraining.triggers import MonitorResult, Request, RetrainingTrigger
from mlinfra_operator import conditions
from mlinfra_operator.retrainingpolicy.builder import build_training_job
from mlinfra_operator.retrainingpolicy.observed import Child, child_of, promoted_by_training

Object = dict[str, Any]


def version_in(phase: str | None, **status: Any) -> Object:
    return {"status": {"phase": phase, **status}}


@pytest.mark.parametrize(
    ("version", "promoted"),
    [
        (None, None),
        ({}, None),
        (version_in("PendingApproval"), None),
        (version_in("Registered"), None),
        (version_in("GatesFailed"), False),
        (version_in("Rejected"), False),
        (version_in("Production", productionClaimedAt="2026-05-04T02:00:00Z"), True),
        (version_in("Staging"), True),
        (version_in("Archived", history=[{"stage": "Archived"}, {"stage": "Production"}]), True),
    ],
)
def test_a_version_was_promoted_was_refused_or_is_open(version: Object | None, promoted: bool | None) -> None:
    subject = policy(**WATCHING)
    manifest = build_training_job(subject, Request(RetrainingTrigger.DRIFT, "w", "psi 0.3"))
    manifest["metadata"] |= {"uid": "u", "creationTimestamp": conditions.timestamp(NOW)}
    found = child_of(manifest, version)
    assert (found.promoted, found.generation) == (promoted, 1)


def test_monitors_wait_longer_after_fruitless_trainings_and_say_so() -> None:
    def lost_until(end: datetime) -> MonitorResult:
        start = end - timedelta(hours=1)
        return result("performance", "breached", 0.6, window_start=start, window_end=end)

    # Two trainings whose versions were not good enough; the evidence of the second reached until ENDED.
    children = tuple(
        Child(
            f"t{number}",
            f"u{number}",
            RetrainingTrigger.PERFORMANCE,
            f"{number}",
            ENDED - timedelta(days=1 - number),
            outcome="Succeeded",
            events_until=ENDED - timedelta(days=1 - number),
            generation=1,
            promoted=False,
        )
        for number in range(2)
    )
    early = (lost_until(ENDED + timedelta(hours=2) - timedelta(seconds=1)),)
    held = planned(policy(**WATCHING), *children, monitors=early, checked_at=NOW)
    assert (held.actions, held.status.phase) == ((), "Held")
    assert told(held, "Ready") == ("True", "BackingOff")
    assert held.status.fruitless_trainings == 2
    assert [event.reason for event in held.events if event.reason == "BackingOff"]
    assert [past.promoted for past in held.status.history] == [False, False]
    newer = (lost_until(ENDED + timedelta(hours=2)),)
    assert request_of(planned(policy(**WATCHING), *children, monitors=newer, checked_at=NOW))
    # The ModelVersions, and then the TrainingJobs, are deleted: the status remembers.
    open_again = tuple(replace(each, promoted=None) for each in children)
    kept = planned(stored(held, **WATCHING), *open_again, monitors=early, checked_at=NOW)
    assert told(kept, "Ready") == ("True", "BackingOff")
    gone = planned(stored(kept, **WATCHING), checked_at=NOW)
    assert gone.status.fruitless_trainings == 2
    # One that is promoted, another spec, and a factor of 1 end it.
    promoted = (children[0], replace(children[1], promoted=True))
    for subject, trainings in (
        (policy(**WATCHING), promoted),
        (policy(**WATCHING), tuple(replace(each, generation=0) for each in children)),
        (policy(**WATCHING, maxBackoffFactor=1), children),
    ):
        assert request_of(planned(subject, *trainings, monitors=early, checked_at=NOW))
    ended = planned(policy(**WATCHING), *promoted, checked_at=NOW)
    assert ended.status.fruitless_trainings is None


def test_a_version_that_is_refused_after_its_training_job_is_deleted_counts() -> None:
    ended = Child(
        "t", "u", RetrainingTrigger.DRIFT, "w", NOW - timedelta(hours=1), outcome="Succeeded", generation=1
    )
    kept = planned(policy(**WATCHING), ended, checked_at=NOW)
    assert kept.status.history[0].promoted is None
    gone = planned(stored(kept, **WATCHING), checked_at=NOW, promoted={"t": False})
    assert [past.promoted for past in gone.status.history] == [False]
    assert gone.status.fruitless_trainings == 1
    # Once it is told, the ModelVersion may go too.
    assert planned(stored(gone, **WATCHING), checked_at=NOW).status.fruitless_trainings == 1


def test_versions_tell_what_became_of_their_trainings_the_newest_last() -> None:
    def of(number: int, training: str | None, phase: str, by: str = "nightly") -> Object:
        source = {"trainingJob": training, "retrainingPolicy": by}
        return version_in(phase) | {"spec": {"version": str(number), "source": source}}

    versions = [
        of(10, "again", "Registered"),
        of(2, "again", "GatesFailed"),
        of(3, "refused", "GatesFailed"),
        of(4, "promoted", "Production"),
        of(5, "other", "Production", by="weekly"),
        {"spec": {"version": "6"}, "status": {"phase": "Production"}},
    ]
    assert promoted_by_training("nightly", versions) == {"refused": False, "promoted": True}
