"""Conditions as kstatus reads them, with honest transition times."""

from datetime import timedelta

import pytest
from unit.operator.objects import NOW, NOW_TEXT

from mlinfra.resources.base import Condition
from mlinfra_operator import conditions
from mlinfra_operator.conditions import MAX_MESSAGE_LENGTH, Observation, merge

EARLIER = "2026-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("observations", "statuses"),
    [
        (conditions.ready("Done"), ("True", "False", "False")),
        (conditions.reconciling("Working"), ("False", "True", "False")),
        (conditions.stalled("Stuck", "why"), ("False", "False", "True")),
    ],
)
def test_exactly_one_of_ready_reconciling_and_stalled_is_true(
    observations: tuple[Observation, ...], statuses: tuple[str, ...]
) -> None:
    told = {observation.type: observation.status for observation in observations}
    assert tuple(told[type_] for type_ in ("Ready", "Reconciling", "Stalled")) == statuses


def old(status: str, reason: str = "Before") -> Condition:
    return Condition.model_validate(
        {"type": "Ready", "status": status, "reason": reason, "lastTransitionTime": EARLIER}
    )


@pytest.mark.parametrize(
    ("before", "transition"), [([], NOW_TEXT), ([old("True")], EARLIER), ([old("False")], NOW_TEXT)]
)
def test_the_transition_time_changes_only_with_the_status(before: list[Condition], transition: str) -> None:
    merged = merge(before, [Observation("Ready", "True", "Done", "said")], generation=3, now=NOW)
    assert merged == [
        Condition(
            type="Ready",
            status="True",
            reason="Done",
            message="said",
            last_transition_time=transition,
            observed_generation=3,
        )
    ]


def test_conditions_that_are_no_longer_observed_go() -> None:
    assert merge([old("True")], [], generation=1, now=NOW) == []


def test_a_long_message_is_cut() -> None:
    merged = merge([], [Observation("Ready", "False", "Stuck", "x" * 9999)], generation=1, now=NOW)
    assert len(merged[0].message) == MAX_MESSAGE_LENGTH


def test_reasons_are_found_by_type() -> None:
    assert conditions.reason_of([old("True")], "Ready") == "Before"
    assert conditions.reason_of([old("True")], "Stalled") is None


def test_times_are_in_utc_to_the_second() -> None:
    assert conditions.timestamp(NOW + timedelta(microseconds=999)) == NOW_TEXT
