"""What to do next about a ModelVersion, and what its status says. Pure: no clock, no input, no output.

Gates guard the way into a stage: a version that holds its stage keeps it when its gates are changed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from mlinfra.resources.base import Condition
from mlinfra.resources.model_version import (
    MAX_STAGE_CHANGES,
    ModelVersion,
    ModelVersionPhase,
    ModelVersionStatus,
    Stage,
    StageChange,
)
from mlinfra.retraining.rollback import in_production as in_production_since
from mlinfra.tracking.contract import STAGE_ALIASES
from mlinfra_operator import conditions
from mlinfra_operator.conditions import Event, Observation
from mlinfra_operator.metrics import metric_list
from mlinfra_operator.modelversion.actions import (
    Action,
    ArchiveSpec,
    FollowStage,
    Plan,
    ReadMetrics,
    ReadRegistry,
)
from mlinfra_operator.modelversion.claims import (
    Claim,
    claim_timestamp,
    newest,
    next_claim_time,
    parse_claim,
    stored_claim,
)
from mlinfra_operator.modelversion.gates import Evaluation, Rival, evaluate, with_challenger
from mlinfra_operator.modelversion.observed import Observed
from mlinfra_operator.modelversion.succession import AWAITS_SUCCESSOR
from mlinfra_operator.tracking import MeasuredRun, Problem, RegisteredModel, RegisteredVersion

MIRROR_SECONDS = 60.0
"""How often MLflow is asked for the stage of a version whose stage it owns."""
DRIFT_SECONDS = 300.0
"""How often a version in a stage is compared with MLflow."""
RESYNC_SECONDS = 1800.0
"""How often any other is: one in Production looks after what else MLflow has there meanwhile."""
SUCCESSOR_SECONDS = 5.0
"""How often a version that is to leave Production looks whether the one asked for is there."""
MAX_ALIASES = 32


def plan(version: ModelVersion, observed: Observed, now: datetime) -> Plan:
    """The next step of a ModelVersion.

    Args:
        version: the ModelVersion with its latest status.
        observed: what is known now.
        now: the time of the observation.
    """
    return _Planner(version, observed, now).plan()


@dataclass(frozen=True, slots=True)
class _Planner:
    version: ModelVersion
    observed: Observed
    now: datetime

    def plan(self) -> Plan:
        spec, observed = self.version.spec, self.observed
        if observed.elder is not None:
            return self._duplicate(observed.elder)
        if observed.unavailable is not None:
            return self._away("MLflowUnavailable", f"{observed.unavailable} Tried again.")
        if observed.refused is not None:
            return self._away("MLflowRefused", f"{observed.refused} Tried again.")
        if observed.registry is None:
            return self._next(ReadRegistry())
        if observed.registry == "absent" or spec.version not in observed.registry.versions:
            return self._unregistered(
                "VersionNotFound",
                f"MLflow has no version {spec.version} of {spec.model_name}; register it there, "
                "or delete this ModelVersion",
            )
        owner = observed.registry.owner.namespace
        if owner != self.version.metadata.namespace:
            return self._unregistered(
                "OwnedByOtherNamespace",
                f"the registered model {spec.model_name} belongs to namespace {owner}",
            )
        registered = observed.registry.versions[spec.version]
        run_id = (spec.source.run_id if spec.source else None) or registered.run_id
        if observed.run is None and run_id is not None:
            return self._next(ReadMetrics(run_id))
        run = observed.run or MeasuredRun({}, problem=Problem("NoRun", "MLflow names no run of the version"))
        return self._registered(observed.registry, registered, run)

    def _registered(self, registry: RegisteredModel, registered: RegisteredVersion, run: MeasuredRun) -> Plan:
        facts = _Facts(registry, registered, run.metrics, self._evaluation(registry, run))
        stage = self.version.spec.stage
        if stage is None:
            return self._mirror(facts)
        if stage != "Production" and (waiting := self._awaits_successor(facts)) is not None:
            return waiting
        if stage in ("None", "Archived"):
            return self._settle(facts, stage)
        if facts.evaluation.verdict != "Passed" and not self._holds(stage):
            return self._blocked(facts, stage)
        if self.version.spec.approval != "Approved" and not self._holds(stage):
            return self._unapproved(facts, stage)
        if stage == "Staging":
            return self._settle(facts, stage)
        return self._production(facts)

    def _evaluation(self, registry: RegisteredModel, run: MeasuredRun) -> Evaluation:
        spec = self.version.spec
        others = (other for other in registry.versions.values() if other.version != spec.version)
        in_production = next((other.version for other in others if other.stage == "Production"), None)
        # What a version had to beat on its way to Production counts, whoever came after.
        was_there = self._holds("Production") or in_production_since(self.version) is not None
        rival = Rival(None if was_there else in_production, was_beaten=was_there)
        return with_challenger(evaluate(spec.gates, run), spec.challenger, run, rival)

    def _unapproved(self, facts: "_Facts", stage: Stage) -> Plan:
        rejected, kept = self.version.spec.approval == "Rejected", self._kept_from(stage)
        reason = "Rejected" if rejected else "PendingManualApproval"
        message = (
            f"{kept}: a person rejected it"
            if rejected
            else f"{kept}: waits for approval; kubectl mlinfra approve {self.version.metadata.name}"
        )
        observations = (
            *conditions.ready(reason, message),
            Observation("Promoted", "False", reason, message),
            Observation("Approved", "False" if rejected else "Unknown", reason, message),
        )
        phase: ModelVersionPhase = "Rejected" if rejected else "PendingApproval"
        return self._kept_out(facts) or self._done(
            facts,
            phase,
            observations,
            requeue_after=MIRROR_SECONDS if self.version.spec.stage is None else RESYNC_SECONDS,
        )

    def _kept_from(self, stage: Stage) -> str:
        if self.version.spec.stage is None:
            return f"in {stage} in MLflow, and not served as such"
        return f"not in {stage}"

    def _kept_out(self, facts: "_Facts") -> Plan | None:
        """The way back where somebody put a version that may not be there into Production in MLflow."""
        was_there = self._holds("Production") or self.version.status.stage == "Production"
        mirrored = self.version.spec.stage is None
        if facts.registered.stage != "Production" or was_there or mirrored:
            return None
        return self._next(FollowStage("None"))

    def _mirror(self, facts: "_Facts") -> Plan:
        stage = facts.registered.stage
        served = stage in ("Staging", "Production")
        was_there = self._holds(stage) or self.version.status.phase == stage
        # Who owns the stage may overrule gates, but nobody a person's approval.
        if served and self.version.spec.approval != "Approved" and not was_there:
            return self._unapproved(facts, stage)
        phase: ModelVersionPhase = "Registered" if stage == "None" else stage
        message = f"MLflow owns the stage: {stage}"
        return self._done(facts, phase, conditions.ready("Registered", message), requeue_after=MIRROR_SECONDS)

    def _awaits_successor(self, facts: "_Facts") -> Plan | None:
        """Of a version in Production whose spec asks for less: stay until the one asked for is there."""
        claimed_at = self.version.status.production_claimed_at
        successor = next(iter(self.observed.successors), None)
        if claimed_at is None or successor is None or facts.registered.stage != "Production":
            return None
        kept_out = successor.decision == "kept out"
        message = f"stays in Production until {successor.name} is there" + (
            f", which is kept out: {successor.told}" if kept_out else ""
        )
        claim = Claim(self.version.metadata.name, int(self.version.spec.version), parse_claim(claimed_at))
        observations = conditions.reconciling(AWAITS_SUCCESSOR, message)
        wait = MIRROR_SECONDS if kept_out else SUCCESSOR_SECONDS
        told = self._done(facts, "Production", observations, claim=claim, requeue_after=wait)
        # Others are not asked each time to look at what keeps one out.
        return replace(told, awaits_others=not kept_out or told.status != self.version.status)

    def _settle(self, facts: "_Facts", stage: Stage) -> Plan:
        if not facts.is_in(stage):
            return self._next(FollowStage(stage))
        phase: ModelVersionPhase = "Registered" if stage == "None" else stage
        reason = "Registered" if stage == "None" else stage
        promoted = Observation("Promoted", "True", stage, f"in {stage}")
        observations = (
            *conditions.ready(reason, f"in {stage}"),
            *((promoted,) if stage == "Staging" else ()),
        )
        return self._done(
            facts, phase, observations, requeue_after=DRIFT_SECONDS if stage == "Staging" else RESYNC_SECONDS
        )

    def _holds(self, stage: Stage) -> bool:
        if stage == "Production":
            return self.version.status.production_claimed_at is not None
        return self.version.status.phase == stage

    def _blocked(self, facts: "_Facts", stage: Stage) -> Plan:
        verdict = facts.evaluation.verdict
        reason = f"Gates{verdict}"
        message = f"not in {stage}: {facts.evaluation.message}"
        observations = (
            *conditions.stalled(reason, message),
            Observation("Promoted", "False", reason, message),
        )
        return self._kept_out(facts) or self._done(
            facts,
            "GatesFailed" if verdict == "Failed" else "Registered",
            observations,
            # What cannot be read may be there again.
            requeue_after=MIRROR_SECONDS if verdict == "Error" else RESYNC_SECONDS,
        )

    def _production(self, facts: "_Facts") -> Plan:
        spec, metadata = self.version.spec, self.version.metadata
        own = stored_claim(self.version.to_wire()) or Claim(
            metadata.name, int(spec.version), next_claim_time(self.observed.claims, self.now)
        )
        winner = newest((own, *self.observed.claims))
        if winner != own and winner is not None:
            return self._superseded(facts, own, winner)
        demoted = tuple(
            other.version
            for other in facts.registry.versions.values()
            if other.version != spec.version and "Production" in (other.stage, other.mlflow_stage)
        )
        if demoted or not facts.is_in("Production"):
            return self._next(FollowStage("Production", demoted))
        message = f"version {spec.version} of {spec.model_name} is in Production"
        observations = (
            *conditions.ready("Promoted", message),
            Observation("Promoted", "True", "Promoted", message),
        )
        return self._done(facts, "Production", observations, claim=own, requeue_after=DRIFT_SECONDS)

    def _superseded(self, facts: "_Facts", own: Claim, winner: Claim) -> Plan:
        if self.observed.stage_is_ours:
            return self._next(ArchiveSpec())
        if not facts.is_in("Archived"):
            return self._next(FollowStage("Archived"))
        message = (
            f"superseded by {winner.name}, which claimed Production later; "
            "set spec.stage to Archived, or archive the other one"
        )
        observations = (
            *conditions.ready("Superseded", message),
            Observation("Promoted", "False", "Superseded", message),
        )
        return self._done(facts, "Archived", observations, claim=own, requeue_after=RESYNC_SECONDS)

    def _duplicate(self, elder: str) -> Plan:
        spec = self.version.spec
        message = (
            f"ModelVersion {elder} stands for version {spec.version} of {spec.model_name} already: "
            "delete one of the two"
        )
        observations = conditions.stalled("DuplicateVersion", message)
        status = ModelVersionStatus(
            phase="Pending",
            conditions=self._merge(observations),
            observed_generation=self.version.metadata.generation,
        )
        return Plan(status, events=self._events("Warning", "DuplicateVersion", message))

    def _unregistered(self, reason: str, message: str) -> Plan:
        observations = (
            *conditions.stalled(reason, message),
            Observation("Registered", "False", reason, message),
        )
        status = self._kept(phase="Pending", conditions=self._merge(observations), stage=None, aliases=[])
        return Plan(status, events=self._events("Warning", reason, message), requeue_after=MIRROR_SECONDS)

    def _away(self, reason: str, message: str) -> Plan:
        old = self.version.status
        told = conditions.reconciling(reason, message)
        kept = [
            Observation(condition.type, condition.status, condition.reason, condition.message)
            for condition in old.conditions
            if condition.type not in {observation.type for observation in told}
        ]
        status = self._kept(phase=old.phase or "Pending", conditions=self._merge((*told, *kept)))
        return Plan(status, events=self._events("Warning", reason, message), retry=True)

    def _done(
        self,
        facts: "_Facts",
        phase: ModelVersionPhase,
        observations: tuple[Observation, ...],
        *,
        claim: Claim | None = None,
        requeue_after: float | None = None,
    ) -> Plan:
        spec = self.version.spec
        registered = Observation(
            "Registered", "True", "Registered", f"version {spec.version} of {spec.model_name} in MLflow"
        )
        shown = (*observations, registered, *_gates_condition(facts.evaluation))
        status = ModelVersionStatus(
            phase=phase,
            conditions=self._merge(shown),
            observed_generation=self.version.metadata.generation,
            stage=facts.registered.stage,
            aliases=list(facts.registered.aliases[:MAX_ALIASES]),
            production_claimed_at=claim_timestamp(claim.claimed_at) if claim else None,
            metrics=metric_list(facts.metrics),
            gates=list(facts.evaluation.results),
            history=self._history(facts.registered.stage),
        )
        told = observations[0]
        warned = any(item.type == "Stalled" and item.status == "True" for item in observations)
        events = self._events("Warning" if warned else "Normal", told.reason, told.message)
        return Plan(status, events=events, requeue_after=requeue_after)

    def _history(self, stage: Stage) -> list[StageChange]:
        known = self.version.status.history
        if known and known[0].stage == stage:
            return known
        change = StageChange(stage=stage, time=conditions.timestamp(self.now))
        return [change, *known][:MAX_STAGE_CHANGES]

    def _events(self, type_: Literal["Normal", "Warning"], reason: str, message: str) -> tuple[Event, ...]:
        known = conditions.reason_of(self.version.status.conditions, "Ready")
        return () if known == reason else (Event(type_, reason, message),)

    def _kept(self, **changed: Any) -> ModelVersionStatus:
        """The status as it is, but for what is given."""
        update = {"observed_generation": self.version.metadata.generation, **changed}
        return self.version.status.model_copy(update=update)

    def _merge(self, observations: tuple[Observation, ...]) -> list[Condition]:
        return conditions.merge(
            self.version.status.conditions,
            observations,
            generation=self.version.metadata.generation,
            now=self.now,
        )

    def _next(self, action: Action) -> Plan:
        return Plan(self.version.status, actions=(action,))


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the registry and the run tell of a version that is there."""

    registry: RegisteredModel
    registered: RegisteredVersion
    metrics: Mapping[str, float]
    evaluation: Evaluation

    def is_in(self, stage: Stage) -> bool:
        """Whether MLflow's own stage and the aliases of stages both say so."""
        registered, alias = self.registered, STAGE_ALIASES.get(stage)
        held = {name for name in STAGE_ALIASES.values() if name in registered.aliases}
        if registered.mlflow_stage != stage or held - {alias}:
            return False
        # Several versions may be in Staging, and one of them has the alias.
        others = (other for other in self.registry.versions.values() if other.mlflow_stage == stage)
        return alias is None or alias in held or any(alias in other.aliases for other in others)


def _gates_condition(evaluation: Evaluation) -> tuple[Observation, ...]:
    if not evaluation.results:
        return ()
    match evaluation.verdict:
        case "Passed":
            return (Observation("GatesPassed", "True", "GatesPassed", evaluation.message),)
        case "Failed":
            return (Observation("GatesPassed", "False", "GatesFailed", evaluation.message),)
        case "Inconclusive" | "Error":
            return (Observation("GatesPassed", "Unknown", f"Gates{evaluation.verdict}", evaluation.message),)
