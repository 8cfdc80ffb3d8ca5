"""Which logged model is the result of a run."""

import pytest

from mlinfra.tracking.contract import MODEL_TAG
from mlinfra_operator.tracking import LoggedModel
from mlinfra_operator.trainingjob.result import NoResult, result_model


def model(number: int, tag: str | None = None, status: str = "READY") -> LoggedModel:
    return LoggedModel(f"m-{number}", f"model{number}", status, {} if tag is None else {MODEL_TAG: tag})


@pytest.mark.parametrize(
    ("models", "chosen"),
    [
        ([model(1)], "m-1"),
        ([model(1, "true")], "m-1"),
        ([model(1), model(2, "true"), model(3)], "m-2"),
        ([model(1), model(2, status="PENDING")], "m-1"),
        ([model(1), model(2, "false")], "m-1"),
    ],
)
def test_the_tagged_model_counts_else_the_only_ready_one(models: list[LoggedModel], chosen: str) -> None:
    found = result_model(models)
    assert isinstance(found, LoggedModel)
    assert found.model_id == chosen


@pytest.mark.parametrize(
    ("models", "reason", "words"),
    [
        ([], "NoModel", "logged no model"),
        ([model(1, "false")], "NoModel", "logged no model"),
        ([model(1, status="PENDING")], "NoModel", "logged no model"),
        ([model(1, "true", "PENDING"), model(2)], "NoModel", "model1 is not ready but PENDING"),
        ([model(1), model(2)], "AmbiguousModel", "model1 (m-1), model2 (m-2)"),
        ([model(1, "true"), model(2, "true")], "AmbiguousModel", f"tag the result with {MODEL_TAG}=true"),
    ],
)
def test_without_one_result_the_reason_tells_what_to_do(
    models: list[LoggedModel], reason: str, words: str
) -> None:
    found = result_model(models)
    assert isinstance(found, NoResult)
    assert found.reason == reason
    assert words in found.message
