"""What a policy's status tells of its monitors, its trial and its circuit breaker. Pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from mlinfra.resources import RetrainingPolicy
from mlinfra.resources.names import CLOSE_BREAKER_ANNOTATION
from mlinfra.resources.retraining_policy_status import MonitorStatus, RetrainingPolicyStatus
from mlinfra.retraining.assessment import Assessment, Verdict, assess, trigger_rules
from mlinfra.retraining.observation import MONITORS, Rollback
from mlinfra.retraining.triggers import MonitorResult, RetrainingTrigger
from mlinfra_operator import conditions
from mlinfra_operator.conditions import ConditionStatus, Event, Observation
from mlinfra_operator.monitor_evidence import evidence_of
from mlinfra_operator.retrainingpolicy.observed import Child
from mlinfra_operator.retrainingpolicy.promotions import Memory, breaker_status, trial_status

HEALTH, BREAKER = "ModelHealthy", "CircuitBreakerOpen"
NO_WAY_BACK = "NoVersionToGoBackTo"
MAX_KEY = 256
VERDICTS: dict[Verdict, ConditionStatus] = {
    Verdict.HEALTHY: "True",
    Verdict.DRIFT_WITHOUT_LOSS: "True",
    Verdict.RETRAINING_NEEDED: "False",
    Verdict.LOSS_WITHOUT_DRIFT: "False",
}
"""Of the condition ModelHealthy; Unknown for those that are not here."""


def assessment_of(policy: RetrainingPolicy, results: Sequence[MonitorResult]) -> Assessment | None:
    """What the newest results amount to; None where nothing is watched or was asked yet."""
    spec = policy.spec
    if not results or (spec.drift is None and spec.performance is None):
        return None
    return assess(results, trigger_rules(spec.drift, spec.performance))


def newest_performance(results: Sequence[MonitorResult]) -> MonitorResult | None:
    """The check of performance among the results."""
    return next((each for each in results if each.trigger is RetrainingTrigger.PERFORMANCE), None)


def asked_at(policy: RetrainingPolicy, children: Sequence[Child], now: datetime) -> datetime | None:
    """When a person or the schedule last asked for a training, or a person closed the circuit breaker."""
    status = policy.status
    moments = [child.created for child in children if child.trigger not in MONITORS]
    moments += [
        datetime.fromisoformat(told.start_time)
        for told in (*status.active, *status.history)
        if RetrainingTrigger(told.trigger) not in MONITORS
    ]
    value = breaker_key(policy)
    if value is not None and value != status.last_circuit_breaker_close:
        moments.append(now)
    return max(moments, default=None)


def breaker_key(policy: RetrainingPolicy) -> str | None:
    """The value of the annotation that closes the circuit breaker once."""
    return policy.metadata.annotations.get(CLOSE_BREAKER_ANNOTATION, "")[:MAX_KEY] or None


def monitoring_fields(
    policy: RetrainingPolicy, results: Sequence[MonitorResult], at: datetime | None, memory: Memory
) -> dict[str, Any]:
    """The fields of the status that tell of monitors, of the trial and of the circuit breaker."""
    old = policy.status
    watched = policy.spec.drift is not None or policy.spec.performance is not None
    monitors = _monitors(old, results, at) if watched else []
    fields: dict[str, Any] = {
        "monitors": monitors,
        "production_version": memory.number,
        "production_performance": evidence_of(memory.performance) if memory.performance else None,
        "trial": trial_status(memory.watch.trial),
        "circuit_breaker": breaker_status(memory.watch.breaker),
        "last_circuit_breaker_close": breaker_key(policy) or old.last_circuit_breaker_close,
    }
    for name in ("drift", "performance"):
        told = next((each for each in monitors if each.trigger == name), None)
        kept = getattr(old, f"last_{name}_score") if watched else None
        fields[f"last_{name}_check_time"] = told.check_time if told is not None else None
        fields[f"last_{name}_score"] = told.score if told is not None and told.score is not None else kept
    return fields


def monitoring_conditions(
    policy: RetrainingPolicy, assessment: Assessment | None, memory: Memory, rollback: Rollback | None
) -> tuple[Observation, ...]:
    """Whether the model is well, and whether the circuit breaker is open.

    Args:
        policy: with its latest status.
        assessment: of its monitors.
        memory: what is remembered from now on.
        rollback: the one to carry out; what the memory knows of no breaker for has nowhere to go back to.
    """
    found = []
    watched = policy.spec.drift is not None or policy.spec.performance is not None
    before = conditions.find(policy.status.conditions, HEALTH)
    if assessment is not None:
        status = VERDICTS.get(assessment.verdict, "Unknown")
        found.append(Observation(HEALTH, status, assessment.verdict.value, assessment.message))
    elif watched and before is not None:
        found.append(Observation(HEALTH, before.status, before.reason, before.message))
    if policy.spec.rollback is not None:
        breaker = memory.watch.breaker
        found.append(
            Observation(BREAKER, "True", "RolledBack", breaker.message)
            if breaker is not None
            else Observation(BREAKER, "False", NO_WAY_BACK, no_way_back(rollback))
            if rollback is not None
            else Observation(BREAKER, "False", "Closed")
        )
    return tuple(found)


def no_way_back(rollback: Rollback) -> str:
    """For people: a rollback that cannot be carried out."""
    return f"{rollback.message}; it stays, since no ModelVersion of version {rollback.previous} is left"


def monitoring_events(
    policy: RetrainingPolicy, assessment: Assessment | None, memory: Memory, rollback: Rollback | None
) -> tuple[Event, ...]:
    """What changed since the status that is stored."""
    old, events = policy.status, []
    breaker = memory.watch.breaker
    if breaker is not None and old.circuit_breaker is None:
        events.append(Event("Warning", "RolledBack", breaker.message))
    if breaker is None and old.circuit_breaker is not None:
        events.append(Event("Normal", "CircuitBreakerClosed", "monitors may ask for trainings again"))
    known = conditions.reason_of(old.conditions, BREAKER) == NO_WAY_BACK
    if rollback is not None and breaker is None and not known:
        events.append(Event("Warning", NO_WAY_BACK, no_way_back(rollback)))
    told = conditions.reason_of(old.conditions, HEALTH)
    if assessment is not None and told != assessment.verdict.value:
        well = VERDICTS.get(assessment.verdict) == "True"
        if well or assessment.verdict is not Verdict.TOO_FEW_SAMPLES:
            kind: conditions.EventType = "Normal" if well else "Warning"
            events.append(Event(kind, assessment.verdict.value, assessment.message))
    return tuple(events)


def _monitors(
    old: RetrainingPolicyStatus, results: Sequence[MonitorResult], at: datetime | None
) -> list[MonitorStatus]:
    if at is None:
        return old.monitors
    before: dict[str, MonitorStatus] = {each.trigger: each for each in old.monitors}
    return [_monitor(before.get(result.trigger.value), result, at) for result in results]


def _monitor(before: MonitorStatus | None, result: MonitorResult, at: datetime) -> MonitorStatus:
    told = evidence_of(result)
    breaches = before.breaches if before is not None else 0
    if result.outcome == "ok":
        breaches = 0
    elif result.breached:
        same = before is not None and before.outcome == "breached" and before.window_end == told.window_end
        breaches = breaches if same else breaches + 1
    return MonitorStatus(**told.model_dump(), check_time=conditions.timestamp(at), breaches=breaches)
