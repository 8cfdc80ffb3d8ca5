"""Carries out the plans of ModelVersions, of one model one at a time."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from weakref import WeakValueDictionary

from pydantic import ValidationError

from mlinfra.kube import KubernetesClient
from mlinfra.kube.resource import MODEL_VERSIONS
from mlinfra.resources import ModelVersion
from mlinfra.resources.names import VERSION_FINALIZER
from mlinfra.tracking.errors import TrackingRefusedError, TrackingUnavailableError
from mlinfra_operator.conditions import Event
from mlinfra_operator.modelversion.actions import (
    Action,
    ArchiveSpec,
    DeleteVersion,
    FollowStage,
    Hold,
    Plan,
    ReadMetrics,
    ReadRegistry,
    Release,
)
from mlinfra_operator.modelversion.claims import stored_claim
from mlinfra_operator.modelversion.deletion import DEFAULT_PATIENCE, is_deleted, is_held, plan_deletion
from mlinfra_operator.modelversion.observed import Observed, elder_of, stage_is_ours
from mlinfra_operator.modelversion.plan import plan
from mlinfra_operator.modelversion.succession import AWAITS_SUCCESSOR, successors_of
from mlinfra_operator.runtime import mlflow_calls
from mlinfra_operator.runtime.cache import Key, Object, ObjectCache, key_of
from mlinfra_operator.runtime.events import EventPoster
from mlinfra_operator.runtime.guarded_patch import patch_guarded
from mlinfra_operator.runtime.invalid import tell_invalid
from mlinfra_operator.runtime.mlflow_registry import Mlflow
from mlinfra_operator.runtime.status import StatusWriter
from mlinfra_operator.runtime.work_queue import Retry
from mlinfra_operator.serving.controller import ServingController
from mlinfra_operator.tracking import MeasuredRun, Problem

MAX_ROUNDS = 12
"""More than the longest way through the plan."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Context:
    """What the controller of ModelVersions works with.

    Attributes:
        enqueue: called with a ModelVersion that has to be looked at because another one changed.
        production_changed: called with a ModelVersion that came to Production or left it.
        serving: serves versions; None where they are not served.
        deletion_patience: how long a deleted ModelVersion waits for an MLflow that is away.
    """

    client: KubernetesClient
    mlflow: Mlflow
    versions: ObjectCache
    status: StatusWriter
    events: EventPoster
    enqueue: Callable[[Key], None]
    production_changed: Callable[[Object], None] = lambda _: None
    serving: ServingController | None = None
    deletion_patience: timedelta = DEFAULT_PATIENCE
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)


class ModelVersionController:
    """Reconciles one ModelVersion at a time."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def reconcile(self, key: Key) -> float | None:
        """Bring a ModelVersion on; seconds after which to look again.

        Raises:
            Retry: to be tried again with a growing delay.
        """
        obj = self._context.versions.get(key)
        if obj is None:
            return None
        # Which version has Production is decided, done and stored before another one is looked at.
        lock = self._locks.setdefault(str(obj["spec"].get("modelName")), asyncio.Lock())
        async with lock:
            return await self._reconcile(key)

    def forget(self, obj: Object) -> None:
        """A ModelVersion is deleted: the next newest claim counts."""
        self._enqueue_rivals(obj)

    async def _reconcile(self, key: Key) -> float | None:
        obj = self._context.versions.get(key)
        if obj is None:
            return None
        try:
            version = ModelVersion.model_validate(obj)
        except ValidationError as error:
            context = self._context
            await tell_invalid(context.status, context.events, obj, error, context.clock())
            obj = context.versions.get(key) or obj
            if is_deleted(obj) and is_held(obj):
                told = "what this ModelVersion asks for cannot be read; its version stays in MLflow"
                await self._release(obj, Event("Warning", "VersionKept", told))
            return None
        if is_deleted(obj):
            self._enqueue_rivals(obj)
        decided = await self._serve(obj, version, await self._act(key, version))
        latest = self._context.versions.get(key)
        if latest is None or not await self._context.status.write(latest, decided.status.to_wire()):
            return None
        for event in decided.events:
            self._context.events.post(latest, event)
        if decided.status.production_claimed_at != version.status.production_claimed_at:
            self._enqueue_rivals(latest)
            self._context.production_changed(latest)
        elif decided.awaits_others:
            self._enqueue_rivals(latest)
        elif decided.status != version.status:
            self._enqueue_waiting(latest)
        if decided.retry:
            raise Retry
        return decided.requeue_after

    async def _serve(self, obj: Object, version: ModelVersion, decided: Plan) -> Plan:
        """The plan, with what serving the version adds to it."""
        serving = self._context.serving
        if serving is None or is_deleted(obj):
            return decided
        settled = await serving.settle(version, decided.status)
        times = [each for each in (decided.requeue_after, settled.requeue_after) if each is not None]
        return replace(
            decided,
            status=settled.status,
            events=(*decided.events, *settled.events),
            requeue_after=min(times, default=None),
        )

    async def _act(self, key: Key, version: ModelVersion) -> Plan:
        context = self._context
        observed = self._observe(key, version)
        for _ in range(MAX_ROUNDS):
            now = context.clock()
            leaving = plan_deletion(version, observed, now, patience=context.deletion_patience)
            decided = leaving or plan(version, observed, now)
            if not decided.actions:
                return decided
            for action in decided.actions:
                if isinstance(action, ArchiveSpec | Hold | Release):
                    version = await self._change(key, action)
                    continue
                try:
                    observed = await self._ask_mlflow(action, version, observed)
                except TrackingUnavailableError as error:
                    observed = replace(observed, unavailable=str(error))
                except TrackingRefusedError as error:
                    observed = replace(observed, refused=str(error))
        raise RuntimeError(f"ModelVersion {version.metadata.name}: no end after {MAX_ROUNDS} plans")

    def _observe(self, key: Key, version: ModelVersion) -> Observed:
        others = self._others(version.spec.model_name, key)
        rivals = [
            stored_claim(other)
            for other in others
            if other["spec"]["version"] != version.spec.version and not is_deleted(other)
        ]
        twins = [other for other in others if other["spec"]["version"] == version.spec.version]
        obj = self._context.versions.get(key)
        return Observed(
            claims=tuple(claim for claim in rivals if claim is not None),
            successors=successors_of(
                other for other in others if other not in twins and not is_deleted(other)
            ),
            elder=elder_of(obj, twins) if obj is not None else None,
            twin=next((str(other["metadata"]["name"]) for other in twins if not is_deleted(other)), None),
            stage_is_ours=stage_is_ours((obj or {}).get("metadata", {}).get("managedFields") or []),
        )

    async def _ask_mlflow(self, action: Action, version: ModelVersion, observed: Observed) -> Observed:
        call, spec = self._context.mlflow.call, version.spec
        match action:
            case ReadRegistry():
                namespace = version.metadata.namespace
                found = await call(mlflow_calls.registered_model, spec.model_name, namespace)
                return replace(observed, registry=found or "absent")
            case ReadMetrics():
                return replace(observed, run=await self._measured(action.run_id, version))
            case FollowStage():
                await call(
                    mlflow_calls.follow_stage, spec.model_name, spec.version, action.stage, action.demoted
                )
                return replace(observed, registry=None)
            case DeleteVersion():
                await call(mlflow_calls.delete_version, spec.model_name, spec.version)
                return replace(observed, registry=None)
            case ArchiveSpec() | Hold() | Release():
                raise ValueError(f"{action} is no question to MLflow")

    async def _measured(self, run_id: str, version: ModelVersion) -> MeasuredRun:
        try:
            measured = await self._context.mlflow.call(mlflow_calls.measured_run, run_id)
            problem = Problem("RunDeleted", f"MLflow has no run {run_id} any more")
        except TrackingRefusedError as error:
            measured, problem = None, Problem("RunUnreadable", f"run {run_id} cannot be read: {error}")
        if measured is not None:
            return measured
        # A run may be deleted while its model serves: what it had measured is in the status.
        kept = {metric.name: float(metric.value) for metric in version.status.metrics}
        return MeasuredRun(kept, problem=problem)

    async def _change(self, key: Key, action: ArchiveSpec | Hold | Release) -> ModelVersion:
        obj = self._context.versions.get(key)
        if obj is None:
            raise Retry
        match action:
            case ArchiveSpec():
                changed = await self._patch(obj, {"spec": {"stage": "Archived"}})
            case Hold():
                held = [*(obj["metadata"].get("finalizers") or ()), VERSION_FINALIZER]
                changed = await self._patch(obj, {"metadata": {"finalizers": held}})
            case Release():
                changed = await self._release(obj, action.event)
        return ModelVersion.model_validate(changed)

    async def _release(self, obj: Object, event: Event | None) -> Object:
        if event is not None:
            # Before the patch: a crash between the two tells twice, and not never.
            self._context.events.post(obj, event)
        kept = [each for each in obj["metadata"].get("finalizers") or () if each != VERSION_FINALIZER]
        return await self._patch(obj, {"metadata": {"finalizers": kept}})

    async def _patch(self, obj: Object, patch: Object) -> Object:
        return await patch_guarded(self._context.client, MODEL_VERSIONS, self._context.versions, obj, patch)

    def _others(self, model_name: str, key: Key) -> list[Object]:
        """Other ModelVersions of the model."""
        return [
            other
            for other in self._context.versions
            if other["spec"].get("modelName") == model_name
            and other["metadata"].get("namespace") == key[0]
            and key_of(other) != key
        ]

    def _enqueue_waiting(self, obj: Object) -> None:
        """Look at those that stay in Production until another one is there, or is kept out."""
        for other in self._others(str(obj["spec"].get("modelName")), key_of(obj)):
            conditions = (other.get("status") or {}).get("conditions") or ()
            if any(each.get("reason") == AWAITS_SUCCESSOR for each in conditions):
                self._context.enqueue(key_of(other))

    def _enqueue_rivals(self, obj: Object) -> None:
        for other in self._others(str(obj["spec"].get("modelName")), key_of(obj)):
            if _is_about_production(other) or other["spec"]["version"] == obj["spec"]["version"]:
                self._context.enqueue(key_of(other))


def _is_about_production(obj: Object) -> bool:
    """Whether it asks for Production, or leaves it."""
    return _asks_for_production(obj) or "productionClaimedAt" in (obj.get("status") or {})


def _asks_for_production(obj: Object) -> bool:
    return bool(obj["spec"].get("stage") == "Production")
