"""The operator's real controllers, before an API server and an MLflow in memory."""

from collections.abc import Callable
from datetime import datetime
from types import SimpleNamespace
from typing import Any

from unit.operator.simulation.api_server import Api
from unit.operator.simulation.mlflow_store import RemoteStore

from mlinfra.kube.informer import Informer
from mlinfra.kube.resource import JOBS, MODEL_VERSIONS, RETRAINING_POLICIES, SERVICES, TRAINING_JOBS
from mlinfra_operator.modelversion import controller as modelversion
from mlinfra_operator.retrainingpolicy import controller as retrainingpolicy
from mlinfra_operator.retrainingpolicy.checks import Ask, Checked
from mlinfra_operator.runtime.cache import Key, ObjectCache, key_of
from mlinfra_operator.runtime.pod_lists import PodLists
from mlinfra_operator.runtime.run_watch import RunWatch
from mlinfra_operator.runtime.status import StatusWriter
from mlinfra_operator.tracking import Finish
from mlinfra_operator.trainingjob import controller as trainingjob
from mlinfra_operator.trainingjob.companions import Companions
from mlinfra_operator.trainingjob.job_builder import PodDefaults
from mlinfra_operator.trainingjob.observed import ChildJob, child_job

Object = dict[str, Any]
Work = tuple[str, Key]
"""A kind, and the namespace and name of an object of it."""


class Children:
    """The child Jobs that the operator knows of."""

    def __init__(self) -> None:
        self.jobs: dict[Key, Object] = {}

    def get(self, key: Key) -> ChildJob | None:
        found = self.jobs.get(key)
        return child_job(found) if found is not None else None

    def created(self, obj: Object) -> None:
        self.jobs[key_of(obj)] = obj


class Monitors:
    """What the monitors say of each policy that asks; it outlives the operator, as servers do."""

    def __init__(self) -> None:
        self.said: Checked | None = None

    def follow(self, key: Key, ask: Ask | None, *, last: datetime | None = None) -> None:
        pass

    def latest(self, key: Key) -> Checked | None:
        return self.said


def companions_of(api: Api) -> Companions:
    client: Any = api
    return Companions(client, Informer(client, SERVICES, on_change=lambda *_: None), gang_offered=False)


class OperatorLife:
    """One life of the operator: what it remembers is gone with it."""

    def __init__(
        self, api: Api, remote: RemoteStore, monitors: Monitors, clock: Callable[[], datetime]
    ) -> None:
        self._api = api
        self.finishes: list[Finish] = []
        self.children = Children()
        self.jobs = ObjectCache(lambda _: None, lambda obj: self.trainingjobs.forget(obj))
        self.versions = ObjectCache(lambda _: None, lambda obj: self.modelversions.forget(obj))
        self.policies = ObjectCache(lambda _: None, lambda obj: self.retrainingpolicies.forget(obj))
        shared: dict[str, Any] = {
            "client": api,
            "versions": self.versions,
            "events": SimpleNamespace(post=lambda *_: None),
            "clock": clock,
        }
        self.trainingjobs = trainingjob.TrainingJobController(
            trainingjob.Context(
                **shared,
                mlflow=remote,  # type: ignore[arg-type]  # the part that is used, here and below
                jobs=self.jobs,
                pods=PodLists(api),  # type: ignore[arg-type]  # the part that is used
                children=self.children,  # type: ignore[arg-type]
                companions=companions_of(api),
                runs=RunWatch(remote, lambda *_: None),  # type: ignore[arg-type]
                status=StatusWriter(api, TRAINING_JOBS, self.jobs),  # type: ignore[arg-type]
                defaults=PodDefaults(image="image", tracking_uri="http://mlflow"),
                finish=self.finishes.append,
                phase_changed=lambda *_: None,
            )
        )
        self.modelversions = modelversion.ModelVersionController(
            modelversion.Context(
                **shared,
                mlflow=remote,  # type: ignore[arg-type]
                status=StatusWriter(api, MODEL_VERSIONS, self.versions),  # type: ignore[arg-type]
                enqueue=lambda _: None,
            )
        )
        self.retrainingpolicies = retrainingpolicy.RetrainingPolicyController(
            retrainingpolicy.Context(
                **shared,
                policies=self.policies,
                jobs=self.jobs,
                status=StatusWriter(api, RETRAINING_POLICIES, self.policies),  # type: ignore[arg-type]
                checks=monitors,  # type: ignore[arg-type]
            )
        )
        self.deliver()

    def deliver(self, *plurals: str) -> None:
        """The watches of these resources are up to date; without any named, all watches are."""
        version = self._api.version()
        for resource, cache in (
            (TRAINING_JOBS, self.jobs),
            (MODEL_VERSIONS, self.versions),
            (RETRAINING_POLICIES, self.policies),
        ):
            if not plurals or resource.plural in plurals:
                cache.replace(self._api.of(resource), version)
        if not plurals or JOBS.plural in plurals:
            self.children.jobs = {key_of(obj): obj for obj in self._api.of(JOBS)}

    def work(self) -> list[Work]:
        """All that may be looked at."""
        kinds = (("job", self.jobs), ("version", self.versions), ("policy", self.policies))
        return [(kind, key_of(obj)) for kind, cache in kinds for obj in cache]

    async def reconcile(self, kind: str, key: Key) -> float | None:
        """Look at one object; seconds after which to look again."""
        controller = {
            "job": self.trainingjobs,
            "version": self.modelversions,
            "policy": self.retrainingpolicies,
        }[kind]
        return await controller.reconcile(key)
