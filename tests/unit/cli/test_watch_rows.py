"""What ``mlinfra watch`` shows: rows in order, and a line only for a change that can be seen."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mlinfra.cli.watch_rows import Shown, row_of

NOW = datetime(2026, 3, 1, 12, 0, 5, tzinfo=UTC)
Object = dict[str, Any]


def obj(name: str, *, minute: int = 0, spec: Any = None, **status: Any) -> Object:
    created = f"2026-03-01T11:{minute:02}:05Z"
    metadata = {"name": name, "namespace": "ns", "creationTimestamp": created}
    return {"metadata": metadata, "spec": spec or {}, "status": status}


def training_job(
    name: str = "m-1", *, percent: int | None = None, left: int | None = None, **status: Any
) -> Object:
    trainer = {"progressPercentage": percent, "estimatedRemainingSeconds": left}
    return obj(name, **({"trainerStatus": trainer} if percent is not None else {}), **status)


def test_a_change_is_told_in_one_line() -> None:
    shown = Shown()
    row = row_of("TrainingJob", training_job(phase="Running", percent=40, left=90))
    assert shown.change(row, deleted=False, now=NOW) == "12:00:05 trainingjob/m-1 Running 40%, 0:01:30 left"


def test_what_looks_the_same_is_not_told() -> None:
    shown = Shown()
    seen = training_job(phase="Running", percent=40)
    assert shown.change(row_of("TrainingJob", seen), deleted=False, now=NOW)
    same = training_job(phase="Running", percent=40, observedGeneration=7)
    assert shown.change(row_of("TrainingJob", same), deleted=False, now=NOW) is None


def test_a_deletion_is_told_once_and_ends_the_row() -> None:
    shown = Shown(with_namespace=True)
    row = row_of("TrainingJob", training_job())
    assert shown.change(row, deleted=False, now=NOW) == "12:00:05 ns trainingjob/m-1 -"
    assert shown.change(row, deleted=True, now=NOW) == "12:00:05 ns trainingjob/m-1 deleted"
    assert shown.change(row, deleted=True, now=NOW) is None
    assert shown.table(NOW) == []


def test_conditions_are_told_with_their_reason() -> None:
    conditions = [
        {"type": "Ready", "status": "False", "reason": "Waiting", "message": ""},
        {"type": "Reconciling", "status": "True", "reason": "Unschedulable", "message": "no GPU"},
    ]
    row = row_of("TrainingJob", training_job(phase="Pending", conditions=conditions))
    line = Shown().change(row, deleted=False, now=NOW)
    assert line == "12:00:05 trainingjob/m-1 Pending ready=False Unschedulable: no GPU"


def test_the_table_has_policies_first_then_the_newest_training() -> None:
    shown = Shown()
    for kind, each in (
        ("ModelVersion", obj("m-v1", spec={"modelName": "m", "version": "1"}, phase="Production")),
        ("TrainingJob", obj("old", minute=10)),
        ("TrainingJob", obj("new", minute=20)),
        ("RetrainingPolicy", obj("nightly", nextScheduledTime="2026-03-02T03:00:00Z")),
    ):
        shown.change(row_of(kind, each), deleted=False, now=NOW)
    assert shown.table(NOW) == [
        ("retrainingpolicy/nightly", "", "", "next 2026-03-02T03:00:00Z", "1h", ""),
        ("trainingjob/new", "", "", "", "40m", ""),
        ("trainingjob/old", "", "", "", "50m", ""),
        ("modelversion/m-v1", "Production", "", "m 1", "1h", ""),
    ]


CHANGES = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["Pending", "Running", None])), max_size=30
)


@given(CHANGES)
def test_the_lines_alone_lead_to_the_table(changes: list[tuple[str, str | None]]) -> None:
    """A reader who takes each line knows what the table would show; None deletes."""
    shown, known = Shown(), {}
    for name, phase in changes:
        row = row_of("TrainingJob", obj(name, phase=phase or "Running"))
        line = shown.change(row, deleted=phase is None, now=NOW)
        if line is None:
            continue
        _, told, state = line.split()
        if state == "deleted":
            del known[told]
        else:
            assert known.get(told) != state
            known[told] = state
    assert known == {name: phase for name, phase, *_ in shown.table(NOW)}
