"""An MLflow in memory, and the network before it."""

import copy
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from unit.operator.simulation.faults import Faults

from mlinfra.tracking.contract import TRAINING_JOB_UID_TAG
from mlinfra.tracking.errors import TrackingUnavailableError
from mlinfra.tracking.stages import effective_stage


class Page(list[Any]):
    token = None


class Store:
    """An MLflow in memory: the part of MlflowClient that the operator uses."""

    def __init__(self) -> None:
        self.runs: dict[str, SimpleNamespace] = {}
        self.models: dict[str, SimpleNamespace] = {}
        self.logged: dict[str, SimpleNamespace] = {}
        self.experiments: dict[str, SimpleNamespace] = {}
        self.deleted: list[str] = []

    def get_experiment_by_name(self, name: str) -> Any:
        return self.experiments.get(name)

    def create_experiment(self, name: str) -> str:
        self.experiments[name] = SimpleNamespace(experiment_id=name, lifecycle_stage="active")
        return name

    def search_runs(self, experiment_ids: list[str], *, filter_string: str, order_by: list[str]) -> Page:
        uid = filter_string.split("'")[1]
        return Page(run for run in self.runs.values() if run.data.tags[TRAINING_JOB_UID_TAG] == uid)

    def create_run(self, experiment_id: str, run_name: str, tags: dict[str, str]) -> Any:
        run_id = f"run-{len(self.runs)}"
        self.runs[run_id] = SimpleNamespace(
            info=SimpleNamespace(run_id=run_id, experiment_id=experiment_id, status="RUNNING"),
            data=SimpleNamespace(
                tags=tags, metrics={}, params={}, to_proto=lambda: SimpleNamespace(metrics=[])
            ),
        )
        return self.runs[run_id]

    def get_run(self, run_id: str) -> Any:
        return self.runs[run_id]

    def set_terminated(self, run_id: str, status: str) -> None:
        self.runs[run_id].info.status = status

    def search_logged_models(self, experiment_ids: list[str], *, filter_string: str, **_: Any) -> Page:
        run_id = filter_string.split("'")[1]
        return Page(model for model in self.logged.values() if model.source_run_id == run_id)

    def get_registered_model(self, name: str) -> Any:
        from mlflow.exceptions import MlflowException
        from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST

        if name not in self.models:
            raise MlflowException(name, error_code=RESOURCE_DOES_NOT_EXIST)
        return self.models[name]

    def create_registered_model(self, name: str, tags: dict[str, str]) -> None:
        from mlflow.exceptions import MlflowException
        from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS

        if name in self.models:
            raise MlflowException(name, error_code=RESOURCE_ALREADY_EXISTS)
        self.models[name] = SimpleNamespace(tags=tags, aliases={}, versions={})

    def create_model_version(self, name: str, source: str, *, run_id: str, tags: Any, **_: Any) -> Any:
        versions = self.models[name].versions
        created = SimpleNamespace(
            name=name,
            version=len(versions) + len(self.deleted) + 1,
            run_id=run_id,
            tags=tags,
            current_stage="None",
        )
        versions[str(created.version)] = created
        return created

    def search_model_versions(self, filter_string: str, **_: Any) -> Page:
        field, value = filter_string.split("'")[0], filter_string.split("'")[1]
        found = [version for model in self.models.values() for version in model.versions.values()]
        wanted = (lambda v: v.name) if field.startswith("name") else (lambda v: v.run_id)
        return Page(version for version in found if wanted(version) == value)

    def get_model_version(self, name: str, version: str) -> Any:
        found = copy.deepcopy(self.models[name].versions[version])
        found.aliases = [alias for alias, held in self.models[name].aliases.items() if held == version]
        return found

    def delete_model_version(self, name: str, version: str) -> None:
        model = self.models[name]
        assert version not in self.in_production(name), f"version {version} went while in Production"
        del model.versions[version]
        self.deleted.append(version)

    def set_model_version_tag(self, name: str, version: str, key: str, value: str) -> None:
        self.models[name].versions[version].tags[key] = value

    def transition_model_version_stage(self, name: str, version: str, stage: str) -> None:
        self.models[name].versions[version].current_stage = stage
        self.check_production()

    def set_registered_model_alias(self, name: str, alias: str, version: str) -> None:
        self.models[name].aliases[alias] = version
        self.check_production()

    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        self.models[name].aliases.pop(alias, None)
        self.check_production()

    def in_production(self, name: str) -> list[str]:
        model = self.models[name]
        return [
            number
            for number, version in model.versions.items()
            if effective_stage(
                [alias for alias, held in model.aliases.items() if held == number], version.current_stage
            )
            == "Production"
        ]

    def check_production(self) -> None:
        for name in self.models:
            assert len(self.in_production(name)) <= 1, f"{name}: {self.in_production(name)} in Production"


class RemoteStore:
    """The store behind a network: requests may fail, or succeed with their answer lost."""

    def __init__(self, store: Store, faults: Faults) -> None:
        self._store, self._faults, self.away = store, faults, False

    async def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return function(_Client(self), *args, **kwargs)

    def request(self, name: str, args: Any, kwargs: Any) -> Any:
        if self.away:
            raise TrackingUnavailableError("MLflow does not answer.")
        return self._faults.request(
            lambda: getattr(self._store, name)(*args, **kwargs),
            lambda: TrackingUnavailableError("lost"),
            write=not name.startswith(("get_", "search_")),
        )

    def run_url(self, experiment_id: str, run_id: str) -> str:
        return f"http://mlflow/{experiment_id}/{run_id}"


class _Client:
    def __init__(self, remote: RemoteStore) -> None:
        self._remote = remote

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *args, **kwargs: self._remote.request(name, args, kwargs)

    def transition_model_version_stage(self, *args: Any) -> None:
        self._remote.request("transition_model_version_stage", args, {})
