"""A rollback of a person decides anew on what others change meanwhile, and overrules nobody."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from unit.operator.simulation.api_server import NAMESPACE, Api
from unit.operator.simulation.faults import Faults

from mlinfra.cli.access import ChangedMeanwhileError, ClusterAccessError
from mlinfra.cli.rolling_back import ATTEMPTS, roll_back
from mlinfra.kube.resource import MODEL_VERSIONS
from mlinfra.retraining.rollback import NoRollbackError, Rollback

NOW = datetime(2026, 1, 9, tzinfo=UTC)


class BusyApi(Api):
    """An API server on which others may change something after each read."""

    def __init__(self) -> None:
        super().__init__(Faults(), lambda: NOW)
        self.others: list[Callable[[], Any]] = []

    async def list(self, *args: Any, **kwargs: Any) -> Any:
        found = await super().list(*args, **kwargs)
        self._others_act()
        return found

    async def find(self, *args: Any, **kwargs: Any) -> Any:
        found = await super().find(*args, **kwargs)
        self._others_act()
        return found

    def add(self, number: int, stage: str, *came_to_production: int) -> None:
        times = [f"2026-01-0{day}T00:00:00Z" for day in came_to_production]
        body: dict[str, Any] = {"apiVersion": MODEL_VERSIONS.api_version, "kind": "ModelVersion"}
        body["metadata"] = {"name": f"m-{number}"}
        body["spec"] = {"modelName": "m", "version": str(number), "stage": stage}
        self.put(MODEL_VERSIONS, body, "user")
        history = [{"stage": "Production", "time": time} for time in times]
        status: dict[str, Any] = {"phase": stage, "stage": stage, "history": history}
        if stage == "Production":
            status["productionClaimedAt"] = times[-1]
        self.change(MODEL_VERSIONS, f"m-{number}", {"status": status}, "operator", spec=False)

    def ask(self, number: int, stage: str) -> None:
        self.change(MODEL_VERSIONS, f"m-{number}", {"spec": {"stage": stage}}, "somebody")

    def stages(self) -> dict[str, str]:
        return {obj["metadata"]["name"]: obj["spec"]["stage"] for obj in self.of(MODEL_VERSIONS)}

    def _others_act(self) -> None:
        if self.others:
            self.others.pop(0)()


@pytest.fixture
def api() -> BusyApi:
    api = BusyApi()
    api.add(1, "Archived", 1)
    api.add(2, "Archived", 2)
    api.add(3, "Production", 3)
    return api


async def rolled_back(api: BusyApi) -> Rollback:
    return await roll_back(api, "m", NAMESPACE)  # type: ignore[arg-type]  # the part that is used


def touch(api: BusyApi, number: int) -> Callable[[], Any]:
    return lambda: api.change(MODEL_VERSIONS, f"m-{number}", {"status": {}}, "operator", spec=False)


async def test_the_one_before_takes_production_again(api: BusyApi) -> None:
    found = await rolled_back(api)
    assert (found.current.metadata.name, found.previous.metadata.name) == ("m-3", "m-2")
    assert api.stages() == {"m-1": "Archived", "m-2": "Production", "m-3": "Archived"}


@pytest.mark.parametrize("number", [2, 3])
async def test_a_change_of_no_matter_is_read_and_the_rollback_goes_on(api: BusyApi, number: int) -> None:
    api.others = [touch(api, number)] * (ATTEMPTS - 1)
    await rolled_back(api)
    assert api.stages() == {"m-1": "Archived", "m-2": "Production", "m-3": "Archived"}


async def test_the_one_before_that_is_deleted_meanwhile_is_not_gone_back_to(api: BusyApi) -> None:
    api.others = [lambda: api.objects.pop((MODEL_VERSIONS.plural, "m-2"))]
    with pytest.raises(ClusterAccessError, match="no ModelVersion m-2"):
        await rolled_back(api)
    assert api.stages()["m-3"] == "Production"


async def test_another_stage_that_somebody_asks_for_meanwhile_stays(api: BusyApi) -> None:
    api.others = [lambda: None, lambda: api.ask(3, "Staging")]
    await rolled_back(api)
    assert api.stages() == {"m-1": "Archived", "m-2": "Production", "m-3": "Staging"}


async def test_who_changes_it_all_the_time_is_told_of(api: BusyApi) -> None:
    api.others = [touch(api, 2)] * ATTEMPTS
    with pytest.raises(ChangedMeanwhileError, match="m-2 was changed meanwhile"):
        await rolled_back(api)
    assert api.stages()["m-3"] == "Production"


async def test_there_must_be_one_before(api: BusyApi) -> None:
    for number in (1, 2):
        del api.objects[MODEL_VERSIONS.plural, f"m-{number}"]
    with pytest.raises(NoRollbackError):
        await rolled_back(api)


@pytest.mark.parametrize("model", ["other", "m"])
async def test_a_version_that_cannot_be_read_holds_up_its_own_model_alone(api: BusyApi, model: str) -> None:
    body = {"apiVersion": MODEL_VERSIONS.api_version, "kind": "ModelVersion", "metadata": {"name": "newer"}}
    spec = {"modelName": model, "version": "4", "stage": "None", "ofTheFuture": True}
    api.put(MODEL_VERSIONS, body | {"spec": spec}, "user")
    if model == "other":
        await rolled_back(api)
        assert api.stages()["m-2"] == "Production"
        return
    with pytest.raises(ClusterAccessError, match=r"ModelVersion newer cannot be read: spec\.ofTheFuture"):
        await rolled_back(api)
    assert api.stages()["m-3"] == "Production"
