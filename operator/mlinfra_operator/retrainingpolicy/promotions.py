"""Promotions as a policy sees them: which one begins a trial, and when the circuit breaker closes. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from mlinfra.resources import RetrainingPolicy
from mlinfra.resources.monitoring import LOWER_IS_BETTER
from mlinfra.resources.retraining_policy_status import CircuitBreakerStatus, TrialStatus
from mlinfra.retraining.observation import Breaker, ObservationRule, Rollback, Trial, Watch
from mlinfra.retraining.triggers import MonitorOutcome, MonitorResult
from mlinfra_operator.modelversion.claims import claim_timestamp
from mlinfra_operator.monitor_evidence import evidence_of, result_of

CERTAIN = (MonitorOutcome.OK, MonitorOutcome.BREACHED)
MAX_MESSAGE_LENGTH = 1000


@dataclass(frozen=True, slots=True)
class Production:
    """The version in Production.

    Attributes:
        number: in MLflow's registry.
        since: when it claimed Production.
        promoted: whether a training of the policy brought it there.
        previous: number of the version to go back to; None where there is none.
        names: names of the model's ModelVersions by number, of those that are to stay.
    """

    number: str
    since: datetime
    promoted: bool
    previous: str | None = None
    names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Memory:
    """What is remembered from one look to the next.

    Attributes:
        number: the version last seen in Production.
        performance: the last certain performance of that version.
        watch: the trial and the circuit breaker.
    """

    number: str | None = None
    performance: MonitorResult | None = None
    watch: Watch = field(default_factory=Watch)


def look(
    memory: Memory,
    *,
    production: Production | None,
    performance: MonitorResult | None,
    rule: ObservationRule | None,
    asked_at: datetime | None,
    now: datetime,
) -> tuple[Memory, Rollback | None]:
    """What is remembered after one more look, and the rollback to carry out.

    Where the version to go back to is gone, the rollback is told all the same, and the trial goes on.

    Args:
        memory: of the last look.
        production: the version in Production; None where there is none.
        performance: the newest check of performance.
        rule: how new versions are watched; None where the policy does not roll back.
        asked_at: when a person or the schedule last started a training, or a person closed the breaker.
        now: the time of the look.
    """
    breaker = memory.watch.breaker
    if breaker is not None and asked_at is not None and asked_at > breaker.opened:
        memory, breaker = replace(memory, watch=replace(memory.watch, breaker=None)), None
    if rule is None:
        memory, breaker = replace(memory, watch=Watch()), None
    if production is None or _is_leaving(production, breaker):
        return memory, None
    if rule is not None and (judged := _judged(memory, production, performance, rule, now)) is not None:
        return judged
    if production.number != memory.number:
        memory = _after_promotion(memory, production, rule, now)
    return replace(memory, performance=_certain(performance, production) or memory.performance), None


def memory_of(policy: RetrainingPolicy) -> Memory:
    """What a policy's status remembers."""
    status = policy.status
    trial, breaker = status.trial, status.circuit_breaker
    known = status.production_performance
    return Memory(
        number=status.production_version,
        performance=result_of(known) if known is not None else None,
        watch=Watch(
            trial=Trial(
                trial.version,
                trial.previous,
                datetime.fromisoformat(trial.since),
                datetime.fromisoformat(trial.until),
                result_of(trial.baseline),
            )
            if trial is not None
            else None,
            breaker=Breaker(datetime.fromisoformat(breaker.opened_at), breaker.version, breaker.message)
            if breaker is not None
            else None,
        ),
    )


def trial_status(trial: Trial | None) -> TrialStatus | None:
    """A trial as a status holds it."""
    if trial is None:
        return None
    return TrialStatus(
        version=trial.version,
        previous=trial.previous,
        since=claim_timestamp(trial.since),
        until=claim_timestamp(trial.until),
        baseline=evidence_of(trial.baseline),
    )


def breaker_status(breaker: Breaker | None) -> CircuitBreakerStatus | None:
    """An open breaker as a status holds it."""
    if breaker is None:
        return None
    return CircuitBreakerStatus(
        opened_at=claim_timestamp(breaker.opened),
        version=breaker.version,
        message=breaker.message[:MAX_MESSAGE_LENGTH],
    )


def observation_rule(policy: RetrainingPolicy) -> ObservationRule | None:
    """How a policy watches new versions; None where it does not roll back."""
    rollback = policy.spec.rollback
    if rollback is None:
        return None
    return ObservationRule(timedelta(seconds=rollback.observation_seconds), rollback.max_loss)


def _is_leaving(production: Production, breaker: Breaker | None) -> bool:
    """A version that was rolled back is in Production until MLflow has followed."""
    return breaker is not None and production.number == breaker.version and production.since <= breaker.opened


def _judged(
    memory: Memory,
    production: Production,
    performance: MonitorResult | None,
    rule: ObservationRule,
    now: datetime,
) -> tuple[Memory, Rollback | None] | None:
    """What becomes of the version on trial; None where none is, or its trial is over."""
    trial = memory.watch.trial
    if trial is None:
        return None
    before = replace(memory, number=trial.previous, performance=trial.baseline)
    if production.number == trial.previous:
        # A person was faster, or the operator ended between the rollback and its record.
        message = f"version {trial.version} gave way to {trial.previous} within its observation window"
        return replace(before, watch=Watch(breaker=Breaker(now, trial.version, message))), None
    if production.number != trial.version:
        return None
    higher = performance is None or performance.metric not in LOWER_IS_BETTER
    watch, rollback = memory.watch.observed(performance, rule=rule, higher_is_better=higher, now=now)
    if rollback is not None and rollback.previous in production.names:
        return replace(before, watch=watch), rollback
    if rollback is not None:
        watch, _ = memory.watch.observed(None, rule=rule, higher_is_better=higher, now=now)
    kept = _certain(performance, production) or memory.performance
    return replace(memory, watch=watch, performance=kept), rollback


def _after_promotion(
    memory: Memory, production: Production, rule: ObservationRule | None, now: datetime
) -> Memory:
    """Another version is in Production: on trial, where it is the policy's and the one before is known."""
    watch = replace(memory.watch, trial=None)
    known = memory.performance
    comparable = known is not None and production.previous == memory.number
    if rule is not None and production.promoted and comparable and now < production.since + rule.length:
        watch = watch.promoted(
            production.number,
            previous=production.previous,
            baseline=known,
            rule=rule,
            now=production.since,
        )
    return Memory(production.number, None, watch)


def _certain(performance: MonitorResult | None, production: Production) -> MonitorResult | None:
    if performance is None or performance.score is None or performance.outcome not in CERTAIN:
        return None
    return performance if performance.model_version == production.number else None
