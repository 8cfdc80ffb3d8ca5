"""How runs end, and which version counts where a lost answer has left several."""

from types import SimpleNamespace
from typing import Any

import pytest
from unit.operator.objects import run

from mlinfra.tracking.contract import NAMESPACE_TAG, TRAINING_JOB_UID_TAG
from mlinfra_operator.runtime.finisher import end_of
from mlinfra_operator.runtime.mlflow_calls import register_version, run_of
from mlinfra_operator.tracking import Finish, ModelOwner


@pytest.mark.parametrize(
    ("tags", "phases", "end"),
    [
        ({}, {}, None),
        ({TRAINING_JOB_UID_TAG: "u"}, {}, "KILLED"),
        ({TRAINING_JOB_UID_TAG: "u"}, {"other": "Running"}, "KILLED"),
        ({TRAINING_JOB_UID_TAG: "u"}, {"u": ""}, None),
        ({TRAINING_JOB_UID_TAG: "u"}, {"u": "Running"}, None),
        ({TRAINING_JOB_UID_TAG: "u"}, {"u": "Registering"}, None),
        ({TRAINING_JOB_UID_TAG: "u"}, {"u": "Succeeded"}, "FINISHED"),
        ({TRAINING_JOB_UID_TAG: "u"}, {"u": "Failed"}, "FAILED"),
    ],
)
def test_a_run_ends_as_its_training_job_did(tags: dict[str, str], phases: dict[str, str], end: Any) -> None:
    found = end_of(run(tags=tags), phases)
    assert found == (Finish("run-1", end) if end else None)


class Registry:
    """The part of MLflow's client that registers versions."""

    def __init__(self, versions: list[SimpleNamespace], owner: str | None = "team") -> None:
        self.versions = versions
        self.created: list[str] = []
        self._tags = {NAMESPACE_TAG: owner} if owner else {}

    def create_registered_model(self, name: str, tags: dict[str, str]) -> None:
        from mlflow.exceptions import MlflowException
        from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS

        raise MlflowException(name, error_code=RESOURCE_ALREADY_EXISTS)

    def get_registered_model(self, name: str) -> Any:
        return SimpleNamespace(tags=self._tags)

    def search_model_versions(self, filter_string: str) -> list[SimpleNamespace]:
        return self.versions

    def create_model_version(self, name: str, source: str, **_: Any) -> Any:
        self.created.append(source)
        return SimpleNamespace(version=12)


def version(number: int, *, uid: str = "u", name: str = "model") -> SimpleNamespace:
    return SimpleNamespace(name=name, version=number, tags={TRAINING_JOB_UID_TAG: uid})


@pytest.mark.parametrize(
    ("versions", "owner", "answer", "created"),
    [
        ([], "team", "12", ["models:/m-1"]),
        ([version(9)], "team", "9", []),
        ([version(10), version(9), version(11)], "team", "9", []),
        ([version(9, uid="another"), version(8, name="other")], "team", "12", ["models:/m-1"]),
        ([], "elsewhere", ModelOwner("elsewhere"), []),
    ],
)
def test_what_is_registered_already_is_not_registered_again_and_the_earliest_counts(
    versions: list[SimpleNamespace], owner: str, answer: str | ModelOwner, created: list[str]
) -> None:
    client = Registry(versions, owner)
    found = register_version(
        client,  # type: ignore[arg-type]  # the part that is used
        name="model",
        namespace="team",
        model_id="m-1",
        run_id="run-1",
        uid="u",
        image_digest=None,
    )
    assert found == answer
    assert client.created == created


def test_a_run_with_a_metric_that_is_no_number_is_the_same_when_it_is_read_again() -> None:
    from mlflow.entities import Metric, Run, RunData, RunInfo, RunStatus

    def read() -> Run:
        status = RunStatus.to_string(RunStatus.RUNNING)
        info = RunInfo("run-1", "1", "user", status, 0, None, "active")
        return Run(info, RunData(metrics=[Metric("loss", float("nan"), 0, 0)]))

    assert run_of(read()) == run_of(read())
