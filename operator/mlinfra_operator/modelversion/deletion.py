"""What becomes of the version in MLflow when its ModelVersion is deleted. Pure.

A finalizer keeps the ModelVersion until that is done, for a bounded time: an MLflow that is gone for good
must not keep a namespace from being deleted.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from mlinfra.resources.model_version import ModelVersion
from mlinfra.resources.names import VERSION_FINALIZER
from mlinfra_operator import conditions
from mlinfra_operator.conditions import Event
from mlinfra_operator.modelversion.actions import (
    Action,
    DeleteVersion,
    FollowStage,
    Hold,
    Plan,
    ReadRegistry,
    Release,
)
from mlinfra_operator.modelversion.observed import Observed

DEFAULT_PATIENCE = timedelta(minutes=30)


def is_deleted(obj: Mapping[str, Any]) -> bool:
    """Whether somebody deleted the object, which may stay until its finalizers are gone."""
    return "deletionTimestamp" in obj["metadata"]


def is_held(obj: Mapping[str, Any]) -> bool:
    """Whether our finalizer keeps the object."""
    return VERSION_FINALIZER in (obj["metadata"].get("finalizers") or ())


def plan_deletion(
    version: ModelVersion, observed: Observed, now: datetime, *, patience: timedelta
) -> Plan | None:
    """The next step of a ModelVersion that is deleted, or whose finalizer has to come or go.

    Args:
        version: the ModelVersion with its latest status.
        observed: what is known now.
        now: the time of the observation.
        patience: how long after the deletion MLflow is waited for.

    Returns:
        None where the ModelVersion is to live on as it is.
    """
    deletes = version.spec.deletion_policy == "Delete"
    held = VERSION_FINALIZER in version.metadata.finalizers
    deleted_at = version.metadata.deletion_timestamp
    if deleted_at is None:
        if deletes == held:
            return None
        return Plan(version.status, actions=(Hold() if deletes else Release(),))
    if not held:
        return Plan(version.status)
    if not deletes:
        return Plan(version.status, actions=(Release(),))
    return _Deletion(version, observed, now, datetime.fromisoformat(deleted_at) + patience).plan()


@dataclass(frozen=True, slots=True)
class _Deletion:
    version: ModelVersion
    observed: Observed
    now: datetime
    deadline: datetime

    def plan(self) -> Plan:
        spec, observed = self.version.spec, self.observed
        named = f"version {spec.version} of {spec.model_name}"
        if observed.twin is not None:
            return self._kept(f"{named} stays in MLflow: ModelVersion {observed.twin} stands for it as well")
        if observed.unavailable is not None:
            return self._wait("MLflowUnavailable", observed.unavailable)
        if observed.refused is not None:
            return self._wait("MLflowRefused", observed.refused)
        registry = observed.registry
        if registry is None:
            return self._next(ReadRegistry())
        if registry == "absent" or spec.version not in registry.versions:
            return self._next(Release(Event("Normal", "VersionDeleted", f"MLflow has no {named} any more")))
        if registry.owner.namespace != self.version.metadata.namespace:
            return self._kept(
                f"{named} stays in MLflow: the model belongs to namespace {registry.owner.namespace}"
            )
        registered = registry.versions[spec.version]
        in_use = {"Production", "Staging"} & {registered.stage, registered.mlflow_stage}
        if in_use:
            # Whoever reads by alias or stage meets no version that is half gone.
            return self._next(FollowStage("Archived"))
        return self._next(DeleteVersion())

    def _kept(self, message: str) -> Plan:
        return self._next(Release(Event("Warning", "VersionKept", message)))

    def _wait(self, reason: str, message: str) -> Plan:
        spec, status = self.version.spec, self.version.status
        if self.now >= self.deadline:
            told = (
                f"{message} Given up: version {spec.version} of {spec.model_name} stays in MLflow if that "
                "ever comes back; delete it there"
            )
            return self._next(Release(Event("Warning", "VersionNotDeleted", told)))
        told = f"{message} The version is not deleted yet; given up at {conditions.timestamp(self.deadline)}."
        observations = conditions.reconciling(reason, told)
        fresh = {observation.type for observation in observations}
        merged = conditions.merge(
            status.conditions, observations, generation=self.version.metadata.generation, now=self.now
        )
        merged += [condition for condition in status.conditions if condition.type not in fresh]
        known = conditions.reason_of(status.conditions, "Ready") == reason
        return Plan(
            status.model_copy(
                update={"conditions": merged, "observed_generation": self.version.metadata.generation}
            ),
            events=() if known else (Event("Warning", reason, told),),
            retry=True,
        )

    def _next(self, action: Action) -> Plan:
        return Plan(self.version.status, actions=(action,))
