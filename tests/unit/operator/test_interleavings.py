"""Whatever the order of events: one Job, one run and one version a TrainingJob, one Production a model.

The real plans and controllers run against an API server and an MLflow in memory, which lose answers,
go away, and are watched late; the operator is killed at any request.
"""

import asyncio
import contextlib
import copy
import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from types import SimpleNamespace
from typing import Any

import httpx
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mlinfra.kube import ApiError
from mlinfra.kube.resource import JOBS, MODEL_VERSIONS, TRAINING_JOBS, ResourceType
from mlinfra.resources.names import FIELD_MANAGER, QUEUE_LABEL
from mlinfra.tracking.contract import MODEL_TAG, STAGE_ALIASES, TRAINING_JOB_UID_TAG
from mlinfra.tracking.errors import TrackingUnavailableError
from mlinfra.tracking.stages import effective_stage
from mlinfra_operator.modelversion import controller as modelversion
from mlinfra_operator.runtime.cache import ObjectCache, key_of
from mlinfra_operator.runtime.mlflow_calls import end_run
from mlinfra_operator.runtime.run_watch import RunWatch
from mlinfra_operator.runtime.status import StatusWriter
from mlinfra_operator.runtime.work_queue import Retry
from mlinfra_operator.tracking import Finish
from mlinfra_operator.trainingjob import controller as trainingjob
from mlinfra_operator.trainingjob.job_builder import PodDefaults
from mlinfra_operator.trainingjob.observed import ChildJob, child_job

Object = dict[str, Any]
Objects = list[Object]
NAMESPACE = "team"
JOB_NAMES = ("a", "b", "c")
QUEUED_NAMES = ("b", "c")
"""Those that wait in a queue, which may admit and evict them."""
SETTLE_ROUNDS = 40
EVENTS = (
    "user applies",
    "training completes",
    "user applies",
    "training completes",
    "training starts",
    "training fails",
    "user asks for a stage",
    "user deletes",
    "user deletes a version",
    "user suspends or resumes",
    "garbage is collected",
    "queue admits",
    "queue admits",
    "queue evicts",
    "operator restarts",
    "MLflow goes or comes",
    "all settles",
)


class Killed(BaseException):
    """The operator dies at this request."""


class Faults:
    """What befalls the operator's next requests."""

    def __init__(self) -> None:
        self.countdown: int | None = None
        self.after: bool = False
        self.error: Callable[[], BaseException] | None = None
        self.writes = 0

    def request(self, act: Callable[[], Any], lost: Callable[[], BaseException], *, write: bool) -> Any:
        strikes = self.countdown == 0
        if self.countdown is not None:
            self.countdown -= 1
        error = (self.error or lost)() if strikes else None
        if error is not None and not self.after:
            raise error
        result = act()
        self.writes += write
        if error is not None:
            raise error
        return result

    def clear(self) -> None:
        self.countdown = self.error = None


class Api:
    """An API server in memory; the part of KubernetesClient that the controllers use."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.objects: dict[tuple[str, str], Object] = {}
        self.children_created: dict[str, int] = {}
        self._numbers = itertools.count(1)

    def put(self, resource: ResourceType, body: Object, manager: str) -> Object:
        key = (resource.plural, body["metadata"]["name"])
        if key in self.objects:
            raise ApiError(409, "AlreadyExists", f"{key} already exists")
        obj = copy.deepcopy(body)
        metadata = obj["metadata"]
        number = next(self._numbers)
        metadata |= {"namespace": NAMESPACE, "uid": f"uid-{number}", "generation": 1}
        metadata["resourceVersion"] = str(number)
        self._own_stage(obj, manager)
        self.objects[key] = obj
        if resource == JOBS:
            owner = metadata["ownerReferences"][0]["uid"]
            self.children_created[owner] = self.children_created.get(owner, 0) + 1
        return copy.deepcopy(obj)

    def change(
        self, resource: ResourceType, name: str, patch: Object, manager: str, *, spec: bool = True
    ) -> Object:
        obj = self.objects.get((resource.plural, name))
        if obj is None:
            raise ApiError(404, "NotFound", f"{name} not found")
        metadata = dict(patch.get("metadata", {}))
        finalizers = metadata.pop("finalizers", None)
        for field, expected in metadata.items():
            if obj["metadata"][field] != expected:
                raise ApiError(409, "Conflict", f"{field} differs")
        if finalizers is not None:
            obj["metadata"]["finalizers"] = finalizers
        part = "spec" if spec else "status"
        if part in patch:
            obj[part] = _merged(obj.get(part) or {}, patch[part])
            if spec:
                obj["metadata"]["generation"] += 1
                self._own_stage(obj, manager)
        obj["metadata"]["resourceVersion"] = str(next(self._numbers))
        if finalizers == [] and "deletionTimestamp" in obj["metadata"]:
            del self.objects[resource.plural, name]
        return copy.deepcopy(obj)

    def _own_stage(self, obj: Object, manager: str) -> None:
        obj["metadata"]["managedFields"] = [
            {"manager": manager, "fieldsV1": {"f:spec": {f"f:{name}": {} for name in obj["spec"]}}}
        ]

    async def create(
        self, resource: ResourceType, body: Object, namespace: str, *, field_manager: str
    ) -> Object:
        return self._ask(lambda: self.put(resource, body, field_manager), write=True)

    async def merge_patch(
        self,
        resource: ResourceType,
        name: str,
        patch: Object,
        namespace: str,
        *,
        field_manager: str,
        subresource: str | None = None,
    ) -> Object:
        spec = subresource is None
        return self._ask(lambda: self.change(resource, name, patch, field_manager, spec=spec), write=True)

    async def find(self, resource: ResourceType, name: str, namespace: str) -> Object | None:
        return self._ask(lambda: copy.deepcopy(self.objects.get((resource.plural, name))))

    async def get(self, resource: ResourceType, name: str, namespace: str) -> Object:
        found = await self.find(resource, name, namespace)
        if found is None:
            raise ApiError(404, "NotFound", f"{name} not found")
        return found

    async def delete(self, resource: ResourceType, name: str, namespace: str, *, uid: str, **_: Any) -> None:
        self._ask(lambda: self.begin_deletion(resource, name, uid), write=True)

    def begin_deletion(self, resource: ResourceType, name: str, uid: str) -> None:
        obj = self.objects.get((resource.plural, name))
        if obj is not None and obj["metadata"]["uid"] != uid:
            raise ApiError(409, "Conflict", "the UID differs")
        if obj is not None:
            obj["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
            obj["metadata"]["resourceVersion"] = str(next(self._numbers))

    async def list(self, *_: Any, **__: Any) -> tuple[Objects, str]:
        return [], "1"

    def _ask(self, act: Callable[[], Any], *, write: bool = False) -> Any:
        return self.faults.request(act, lambda: httpx.ReadTimeout("lost"), write=write)

    def version(self) -> str:
        """The resourceVersion of a list."""
        return str(next(self._numbers))

    def of(self, resource: ResourceType) -> Objects:
        return [copy.deepcopy(obj) for (plural, _), obj in self.objects.items() if plural == resource.plural]


def _merged(old: Object, patch: Object) -> Object:
    merged = dict(old)
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict):
            merged[name] = _merged(merged.get(name) or {}, value)
        else:
            merged[name] = value
    return merged


def _ended(job: Object) -> bool:
    return bool((job.get("status") or {}).get("conditions"))


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
            data=SimpleNamespace(tags=tags, metrics={}, params={}),
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


class Children:
    def __init__(self) -> None:
        self.jobs: dict[tuple[str, str], Object] = {}

    def get(self, key: tuple[str, str]) -> ChildJob | None:
        found = self.jobs.get(key)
        return child_job(found) if found is not None else None

    def created(self, obj: Object) -> None:
        self.jobs[key_of(obj)] = obj


class Operator:
    """One life of the operator: what it remembers is gone with it."""

    def __init__(self, api: Api, remote: RemoteStore, clock: Callable[[], datetime]) -> None:
        async def post(*_: Any) -> None:
            pass

        self.finishes: list[Finish] = []
        self.children = Children()
        self.jobs = ObjectCache(lambda _: None, lambda obj: self.trainingjobs.forget(obj))
        self.versions = ObjectCache(lambda _: None, lambda obj: self.modelversions.forget(obj))
        shared: dict[str, Any] = {
            "client": api,
            "mlflow": remote,
            "versions": self.versions,
            "events": SimpleNamespace(post=post),
            "clock": clock,
        }
        self.trainingjobs = trainingjob.TrainingJobController(
            trainingjob.Context(
                **shared,
                jobs=self.jobs,
                children=self.children,  # type: ignore[arg-type]  # the part that is used
                runs=RunWatch(remote, lambda *_: None),  # type: ignore[arg-type]  # the part that is used
                status=StatusWriter(api, TRAINING_JOBS, self.jobs),  # type: ignore[arg-type]  # as above
                defaults=PodDefaults(image="image", tracking_uri="http://mlflow"),
                finish=self.finishes.append,
                phase_changed=lambda *_: None,
            )
        )
        self.modelversions = modelversion.ModelVersionController(
            modelversion.Context(
                **shared,
                status=StatusWriter(api, MODEL_VERSIONS, self.versions),  # type: ignore[arg-type]  # as above
                enqueue=lambda _: None,
            )
        )
        self.deliver(api)

    def deliver(self, api: Api) -> None:
        """All watches are up to date."""
        version = api.version()
        self.jobs.replace(api.of(TRAINING_JOBS), version)
        self.versions.replace(api.of(MODEL_VERSIONS), version)
        self.children.jobs = {key_of(obj): obj for obj in api.of(JOBS)}


class Interleavings(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.faults = Faults()
        self.api = Api(self.faults)
        self.store = Store()
        self.remote = RemoteStore(self.store, self.faults)
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.loop = asyncio.new_event_loop()
        self.terminal: dict[str, str] = {}
        self.suspensions: dict[str, int] = {}
        self.given_up: set[str] = set()
        """Versions whose ModelVersion was deleted with them."""
        self.operator = Operator(self.api, self.remote, lambda: self.now)

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            try:
                self.all_settles()
            finally:
                self.loop.close()

    @rule(
        events=st.lists(
            st.tuples(
                st.sampled_from(EVENTS),
                st.sampled_from(JOB_NAMES),
                st.sampled_from(["Production", "Staging", "Archived"]),
                st.sampled_from([0.9, 0.7]),
            ),
            min_size=1,
            max_size=6,
        )
    )
    def things_happen(self, events: list[tuple[str, str, str, float]]) -> None:
        for event in events:
            self._happen(*event)

    def _happen(self, event: str, name: str, stage: str, accuracy: float) -> None:
        # One rule, not many: Hypothesis leaves out half of many, and little would come to an end.
        match event:
            case "user applies":
                self.user_applies(
                    name,
                    0.8 if stage == "Production" else None,
                    deletion="Delete" if accuracy < 0.8 else "Retain",
                )
            case "user deletes":
                self.user_deletes(name)
            case "user deletes a version":
                self.user_deletes_a_version(1 + JOB_NAMES.index(name))
            case "user asks for a stage":
                self.user_asks_for_a_stage(1 + JOB_NAMES.index(name), stage)
            case "user suspends or resumes":
                self.user_suspends_or_resumes(name)
            case "queue admits" | "queue evicts":
                self.queue_decides(name, held=event == "queue evicts")
            case "garbage is collected":
                self.garbage_is_collected()
            case "operator restarts":
                self.operator_restarts()
            case "MLflow goes or comes":
                self.remote.away = accuracy < 0.8
            case "all settles":
                self.all_settles()
            case _:
                self.training(name, event, accuracy)

    def user_applies(self, name: str, minimum: float | None, *, deletion: str) -> None:
        if ("trainingjobs", name) not in self.api.objects:
            gates = [] if minimum is None else [{"metric": "test_accuracy", "min": minimum}]
            spec: Object = {
                "modelName": "model",
                "image": "image",
                "promotion": {"gates": gates, "deletionPolicy": deletion},
            }
            if name in QUEUED_NAMES:
                spec["queue"] = {"name": "team"}
            body = {"apiVersion": TRAINING_JOBS.api_version, "kind": "TrainingJob", "spec": spec}
            self.api.put(TRAINING_JOBS, body | {"metadata": {"name": name}}, "user")

    def user_deletes(self, name: str) -> None:
        self.api.objects.pop(("trainingjobs", name), None)

    def user_deletes_a_version(self, number: int) -> None:
        obj = self.api.objects.get(("modelversions", f"model-{number}"))
        if obj is None:
            return
        metadata = obj["metadata"]
        if obj["spec"]["deletionPolicy"] == "Delete" and metadata.get("finalizers"):
            self.given_up.add(str(number))
        if metadata.get("finalizers"):
            self.api.begin_deletion(MODEL_VERSIONS, metadata["name"], metadata["uid"])
        else:
            del self.api.objects["modelversions", metadata["name"]]

    def user_suspends_or_resumes(self, name: str) -> None:
        obj = self.api.objects.get(("trainingjobs", name))
        if obj is not None:
            suspend = not obj["spec"].get("suspend", False)
            self.suspensions[obj["metadata"]["uid"]] = (
                self.suspensions.get(obj["metadata"]["uid"], 0) + suspend
            )
            self.api.change(TRAINING_JOBS, name, {"spec": {"suspend": suspend}}, "user")

    def queue_decides(self, name: str, *, held: bool) -> None:
        job = self.api.objects.get(("jobs", name))
        if job is None or job["metadata"]["labels"].get(QUEUE_LABEL) is None or _ended(job):
            return
        selector = None if held else {"flavor": "spot"}
        patch = {"suspend": held, "template": {"spec": {"nodeSelector": selector}}}
        self.api.change(JOBS, name, {"spec": patch}, "kueue")
        if held:
            self.api.change(
                JOBS, name, {"status": {"active": 0, "ready": 0, "startTime": None}}, "kueue", spec=False
            )

    def user_asks_for_a_stage(self, number: int, stage: str) -> None:
        if ("modelversions", f"model-{number}") in self.api.objects:
            patch = {"spec": {"stage": stage}}
            self.api.change(MODEL_VERSIONS, f"model-{number}", patch, "user")

    def garbage_is_collected(self) -> None:
        living = {obj["metadata"]["uid"] for obj in self.api.of(TRAINING_JOBS)}
        for job in self.api.of(JOBS):
            orphaned = job["metadata"]["ownerReferences"][0]["uid"] not in living
            if orphaned or "deletionTimestamp" in job["metadata"]:
                del self.api.objects["jobs", job["metadata"]["name"]]

    def training(self, name: str, step: str, accuracy: float) -> None:
        job = self.api.objects.get(("jobs", name))
        if job is None or _ended(job) or job["spec"].get("suspend"):
            return
        condition = {"status": "True", "reason": "BackoffLimitExceeded", "message": ""}
        match step:
            case "training starts":
                status: Object = {"active": 1, "ready": 1}
            case "training completes":
                status = {"succeeded": 1, "conditions": [condition | {"type": "Complete"}]}
                self._log_model(job, accuracy)
            case _:
                status = {"failed": 1, "conditions": [condition | {"type": "Failed"}]}
        self.api.change(JOBS, name, {"status": status}, "controller", spec=False)

    def _log_model(self, job: Object, accuracy: float) -> None:
        container = job["spec"]["template"]["spec"]["containers"][0]
        run_id = next(item["value"] for item in container["env"] if item["name"] == "MLFLOW_RUN_ID")
        for earlier in self.store.logged.values():
            if earlier.source_run_id == run_id:
                # As the tracker does: of a run the newest model is the result.
                earlier.tags[MODEL_TAG] = "false"
        number = f"m-{len(self.store.logged)}"
        self.store.logged[number] = SimpleNamespace(
            model_id=number,
            name=number,
            source_run_id=run_id,
            status=SimpleNamespace(value="READY"),
            tags={MODEL_TAG: "true"},
        )
        self.store.runs[run_id].data.metrics["test_accuracy"] = accuracy

    def operator_restarts(self) -> None:
        self.operator = Operator(self.api, self.remote, lambda: self.now)

    @rule(
        order=st.randoms(use_true_random=False),
        fresh=st.booleans(),
        seconds=st.integers(-1, 2),
        fault=st.sampled_from(["none", "none", "lost", "killed"]),
        countdown=st.integers(0, 12),
        after=st.booleans(),
    )
    def operator_works(
        self, order: Random, fresh: bool, seconds: int, fault: str, countdown: int, after: bool
    ) -> None:
        self.now += timedelta(seconds=seconds)
        if fresh:
            self.operator.deliver(self.api)
        keys = self._keys()
        # Hypothesis may end the test with any draw: no fault may be armed by then.
        order.shuffle(keys)
        if fault != "none":
            self.faults.countdown, self.faults.after = countdown, after
            self.faults.error = Killed if fault == "killed" else None
        try:
            for kind, key in keys:
                self._reconcile(kind, key)
        except Killed:
            self.operator = Operator(self.api, self.remote, lambda: self.now)
        finally:
            self.faults.clear()

    def _keys(self) -> list[tuple[str, tuple[str, str]]]:
        jobs = [("job", key_of(obj)) for obj in self.operator.jobs]
        return jobs + [("version", key_of(obj)) for obj in self.operator.versions]

    def _reconcile(self, kind: str, key: tuple[str, str]) -> None:
        controller = self.operator.trainingjobs if kind == "job" else self.operator.modelversions
        # The work queue tries again after these.
        with contextlib.suppress(Retry, httpx.HTTPError, ApiError):
            self.loop.run_until_complete(controller.reconcile(key))

    def all_settles(self) -> None:
        self.remote.away = False
        for _ in range(SETTLE_ROUNDS):
            self.garbage_is_collected()
            before = self.faults.writes
            self.operator.deliver(self.api)
            for kind, key in self._keys():
                self._reconcile(kind, key)
            for finish in self.operator.finishes:
                self.loop.run_until_complete(self.remote.call(end_run, finish.run_id, finish.status))
            self.operator.finishes.clear()
            if self.faults.writes == before:
                break
        else:
            raise AssertionError(f"writes went on for {SETTLE_ROUNDS} rounds")
        self._check_settled()

    def _check_settled(self) -> None:
        for obj in self.api.of(TRAINING_JOBS):
            phase = obj["status"]["phase"]
            child = self.api.objects.get(("jobs", obj["metadata"]["name"]))
            if child is None:
                assert phase in ("Suspended", "Succeeded", "Failed"), obj["status"]
                continue
            assert phase != "Suspended"
            held = child["spec"].get("suspend", False)
            assert _ended(child) or (phase == "Queued") == held, obj["status"]
            ended = {item["type"] for item in (child.get("status") or {}).get("conditions", [])}
            expected = {"Complete": "Succeeded", "Failed": "Failed"}.get(next(iter(ended), ""))
            assert expected in (None, phase), obj["status"]
        claims = [
            (obj["status"]["productionClaimedAt"], int(obj["spec"]["version"]))
            for obj in self.api.of(MODEL_VERSIONS)
            if obj["status"].get("productionClaimedAt")
        ]
        if claims:
            assert self.store.in_production("model") == [str(max(claims)[1])]
            assert self.store.models["model"].aliases[STAGE_ALIASES["Production"]] == str(max(claims)[1])
        assert not [obj for obj in self.api.of(MODEL_VERSIONS) if "deletionTimestamp" in obj["metadata"]]
        assert set(self.store.deleted) == self.given_up
        for obj in self.api.of(MODEL_VERSIONS):
            wanted, status = obj["spec"]["stage"], obj["status"]
            assert status["phase"] in (wanted, "GatesFailed", "Archived"), obj

    @invariant()
    def one_job_one_run_one_version(self) -> None:
        if not hasattr(self, "api"):
            return
        for uid, count in self.api.children_created.items():
            assert count <= 1 + self.suspensions.get(uid, 0)
        runs = [run.data.tags[TRAINING_JOB_UID_TAG] for run in self.store.runs.values()]
        assert len(runs) == len(set(runs))
        versions = [
            version.tags[TRAINING_JOB_UID_TAG]
            for model in self.store.models.values()
            for version in model.versions.values()
        ]
        assert len(versions) == len(set(versions))

    @invariant()
    def terminal_stays_terminal(self) -> None:
        if not hasattr(self, "api"):
            return
        for obj in self.api.of(TRAINING_JOBS):
            uid, phase = obj["metadata"]["uid"], (obj.get("status") or {}).get("phase")
            assert self.terminal.get(uid, phase) == phase
            if phase in ("Succeeded", "Failed"):
                self.terminal[uid] = phase

    @invariant()
    def an_archived_version_was_archived_by_its_owner(self) -> None:
        if not hasattr(self, "api"):
            return
        for obj in self.api.of(MODEL_VERSIONS):
            manager = obj["metadata"]["managedFields"][0]["manager"]
            if obj["spec"]["stage"] == "Archived":
                assert manager in ("user", FIELD_MANAGER)


TestInterleavings = Interleavings.TestCase
TestInterleavings.settings = settings(
    max_examples=100,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
