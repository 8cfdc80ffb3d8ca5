"""ModelVersions as MLflow and their siblings are known, and what is planned of them."""

from datetime import timedelta
from typing import Any

from unit.operator.objects import NOW, registered, registry

from mlinfra.resources import ModelVersion
from mlinfra.resources.base import Condition
from mlinfra_operator.modelversion.actions import Plan
from mlinfra_operator.modelversion.claims import claim_timestamp
from mlinfra_operator.modelversion.observed import Observed
from mlinfra_operator.modelversion.plan import plan
from mlinfra_operator.tracking import MeasuredRun

CHALLENGER = {"metric": "test_accuracy", "minImprovement": 0.01}
GATES = [{"metric": "test_accuracy", "min": 0.8}]
GOOD, BAD = {"test_accuracy": 0.9}, {"test_accuracy": 0.7}
BEFORE, AFTER = NOW - timedelta(hours=1), NOW + timedelta(hours=1)
IN_STAGING = registered("1", "Staging", aliases=("staging",))
IN_PRODUCTION = registered("1", "Production", aliases=("production",))
CLAIMED = {"phase": "Production", "productionClaimedAt": claim_timestamp(BEFORE)}


def known(*versions: Any, **facts: Any) -> Observed:
    run = MeasuredRun(facts.pop("metrics", GOOD), facts.pop("champion", None))
    defaults: dict[str, Any] = {"registry": registry(*(versions or (registered("1"),))), "run": run}
    return Observed(**(defaults | facts))


def planned(observed: Observed, version: ModelVersion) -> Plan:
    return plan(version, observed, NOW)


def condition(told: Plan, type_: str) -> Condition:
    return next(found for found in told.status.conditions if found.type == type_)
