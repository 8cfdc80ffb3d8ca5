"""Which version a rollback brings back: the one in Production just before, and none that never was."""

from typing import Any

import pytest

from mlinfra.resources import ModelVersion
from mlinfra.retraining.rollback import NoRollbackError, rollback_of


def version(number: int, phase: str, *production: str, model: str = "m") -> ModelVersion:
    history: list[dict[str, Any]] = [{"stage": "Production", "time": time} for time in production]
    claimed = production[0] if phase == "Production" else None
    return ModelVersion.model_validate(
        {
            "metadata": {"name": f"{model}-{number}"},
            "spec": {"modelName": model, "version": str(number)},
            "status": {"phase": phase, "history": history, "productionClaimedAt": claimed},
        }
    )


def day(number: int) -> str:
    return f"2026-05-{number:02}T00:00:00Z"


def names(*versions: ModelVersion) -> tuple[str, str]:
    found = rollback_of("m", versions)
    return found.current.metadata.name, found.previous.metadata.name


def test_the_version_before_the_one_in_production_comes_back() -> None:
    first, second = version(1, "Archived", day(1)), version(2, "Archived", day(2))
    third, never = version(3, "Production", day(3)), version(4, "GatesFailed")
    other = version(9, "Archived", day(2), model="other")
    assert names(first, second, third, never, other) == ("m-3", "m-2")


def test_a_second_rollback_goes_back_to_where_the_first_one_came_from() -> None:
    assert names(version(1, "Production", day(3), day(1)), version(2, "Archived", day(2))) == ("m-1", "m-2")


def test_of_two_that_say_they_are_in_production_the_newest_claim_counts() -> None:
    left, took = version(2, "Production", day(2)), version(3, "Production", day(3))
    assert names(left, took) == names(took, left) == ("m-3", "m-2")


@pytest.mark.parametrize(
    ("versions", "message"),
    [
        ((), "there are no ModelVersions"),
        ((version(1, "Production", day(1), model="other"),), "there are versions of: other"),
        ((version(1, "Archived", day(1)),), "no version of m is in Production"),
        ((version(1, "Production", day(1)), version(2, "Registered")), "no other version of m was"),
    ],
)
def test_where_there_is_nothing_to_go_back_to_it_is_said(
    versions: tuple[ModelVersion, ...], message: str
) -> None:
    with pytest.raises(NoRollbackError, match=message):
        rollback_of("m", versions)
