"""What to do next about a RetrainingPolicy, and what its status says. Pure: no clock, no input, no output.

A request for a training is answered by a TrainingJob whose name derives from the request: what was created
and not yet told of is found again by its name, so nothing is trained twice.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from mlinfra.resources import RetrainingPolicy
from mlinfra.resources.names import RETRAIN_ANNOTATION
from mlinfra.resources.retraining_policy_status import (
    MAX_HISTORY,
    PastTraining,
    PolicyPhase,
    RetrainingPolicyStatus,
    StartedTraining,
)
from mlinfra.retraining.assessment import Assessment
from mlinfra.retraining.decision import DAY, Hold, Limits, Start, Training, backoff, came_to, decide
from mlinfra.retraining.observation import Rollback
from mlinfra.retraining.schedule import InvalidScheduleError, Schedule, parse_schedule
from mlinfra.retraining.triggers import Request, RetrainingTrigger
from mlinfra_operator import conditions
from mlinfra_operator.conditions import Event, Observation
from mlinfra_operator.retrainingpolicy.actions import (
    CreateTrainingJob,
    DeleteTrainingJob,
    Plan,
    RollBack,
)
from mlinfra_operator.retrainingpolicy.builder import training_job_name
from mlinfra_operator.retrainingpolicy.monitoring import (
    asked_at,
    assessment_of,
    monitoring_conditions,
    monitoring_events,
    monitoring_fields,
    newest_performance,
)
from mlinfra_operator.retrainingpolicy.observed import Child, Observed, Refusal
from mlinfra_operator.retrainingpolicy.promotions import Memory, look, memory_of, observation_rule
from mlinfra_operator.retrainingpolicy.scheduling import due_time, last_schedule_time, observed_schedule

MAX_MANUAL_KEY = 256
LONGEST_SLEEP = timedelta(hours=1)
"""A clock that is set anew must not let a schedule be missed for longer."""


def plan(policy: RetrainingPolicy, observed: Observed, now: datetime, *, created: datetime) -> Plan:
    """The next step of a RetrainingPolicy.

    Args:
        policy: the policy with its latest status.
        observed: what is known now.
        now: the time of the observation.
        created: when the policy was created; nothing before is due.
    """
    return _Planner(policy, observed, now, created).plan()


@dataclass(frozen=True, slots=True)
class _Planner:
    policy: RetrainingPolicy
    observed: Observed
    now: datetime
    created: datetime

    def plan(self) -> Plan:
        rollback, production = self._looked()[1], self.observed.production
        if rollback is not None and not self.observed.rolled_back and production is not None:
            current, previous = (production.names.get(n) for n in (rollback.version, rollback.previous))
            if current is not None and previous is not None:
                return Plan(self.policy.status, actions=(RollBack(current, previous),))
        told = {past.name for past in self.policy.status.history}
        surplus = self._surplus()
        if surplus and all(child.name in told for child in surplus):
            deletions = tuple(DeleteTrainingJob(child.name, child.uid) for child in surplus)
            return Plan(self.policy.status, actions=deletions)
        decided = self._decided()
        # What is deleted must be remembered: the status that tells of it is written first.
        return replace(decided, requeue_after=0.0) if surplus and not decided.actions else decided

    def _decided(self) -> Plan:
        spec = self.policy.spec
        try:
            schedule = parse_schedule(spec.schedule, spec.time_zone) if spec.schedule else None
        except InvalidScheduleError as error:
            return self._invalid(str(error))
        requests, breaker = self._requests(schedule), self._memory_now().watch
        allowed = breaker.allowed(requests)
        decided = decide(allowed, self._trainings(), self._limits(), self.now)
        if breaker.breaker is not None and decided is None and len(allowed) < len(requests):
            held = next(each for each in requests if each not in allowed)
            decided = Hold(held, "CircuitBreakerOpen", breaker.breaker.message)
        in_vain: Plan | None = None
        while isinstance(decided, Start):
            refusal = self._refusal(decided.request)
            if refusal is None and not self._told().issuperset(decided.replaces):
                return replace(self._rest(schedule, None), requeue_after=0.0)
            if refusal is None:
                return self._start(decided)
            reason = "TrainingJobNameTaken" if refusal.foreign else "TrainingJobNotCreated"
            waits = self._rest(schedule, Hold(decided.request, reason, refusal.message), refusal)
            if not refusal.final:
                return waits
            # What no retry helps must not keep all others waiting.
            in_vain = in_vain or waits
            allowed = tuple(each for each in allowed if each != decided.request)
            decided = decide(allowed, self._trainings(), self._limits(), self.now)
        return in_vain or self._rest(schedule, decided)

    def _refusal(self, request: Request) -> Refusal | None:
        return next((each for each in self.observed.refusals if each.key == request.key), None)

    def _looked(self) -> tuple[Memory, Rollback | None]:
        return look(
            memory_of(self.policy),
            production=self.observed.production,
            performance=newest_performance(self.observed.monitors),
            rule=observation_rule(self.policy),
            asked_at=asked_at(self.policy, self.observed.children, self.now),
            now=self.now,
        )

    def _memory_now(self) -> Memory:
        return self._looked()[0]

    def _assessment(self) -> Assessment | None:
        return assessment_of(self.policy, self.observed.monitors)

    def _requests(self, schedule: Schedule | None) -> list[Request]:
        found = [*self._manual(), *self._automatic(schedule)]
        answered = {child.name for child in self.observed.children} | self._told()
        name = self.policy.metadata.name
        return [request for request in found if training_job_name(name, request) not in answered]

    def _manual(self) -> Iterable[Request]:
        value = self.policy.metadata.annotations.get(RETRAIN_ANNOTATION, "")[:MAX_MANUAL_KEY]
        if value and value != self.policy.status.last_manual_request:
            yield Request(RetrainingTrigger.MANUAL, value, f"{RETRAIN_ANNOTATION} is {value}")

    def _automatic(self, schedule: Schedule | None) -> Iterable[Request]:
        if self.policy.spec.suspend:
            return
        due = None if schedule is None else self._due(schedule)
        if due is not None:
            time = conditions.timestamp(due)
            yield Request(RetrainingTrigger.SCHEDULED, time, f"scheduled for {time}", due)
        assessment = self._assessment()
        if assessment is not None and assessment.request is not None:
            yield assessment.request

    def _due(self, schedule: Schedule) -> datetime | None:
        return due_time(self.policy, schedule, self.observed.children, self.now, created=self.created)

    def _trainings(self) -> tuple[Training, ...]:
        known = {child.name for child in self.observed.children}
        history = {past.name: past for past in self._history()}
        gone = (
            Training(
                past.name,
                datetime.fromisoformat(past.start_time),
                active=False,
                events_until=datetime.fromisoformat(past.events_until) if past.events_until else None,
                fruitless=self._fruitless(past),
            )
            for past in history.values()
            if past.name not in known
        )
        here = (
            Training(
                child.name,
                child.created,
                child.active,
                child.events_until,
                fruitless=self._fruitless(history.get(child.name)),
            )
            for child in self.observed.children
        )
        return (*gone, *here)

    def _fruitless(self, past: PastTraining | None) -> bool | None:
        """As of `Training`; one of an earlier spec says nothing of this one."""
        if past is None or past.policy_generation != self.policy.metadata.generation:
            return None
        promoted = False if past.outcome == "Failed" else past.promoted
        return came_to(RetrainingTrigger(past.trigger), promoted=promoted)

    def _limits(self) -> Limits:
        spec = self.policy.spec
        return Limits(
            concurrency=spec.concurrency_policy,
            cooldown=timedelta(seconds=spec.cooldown_seconds),
            max_runs_per_day=spec.max_runs_per_day,
            max_backoff_factor=spec.max_backoff_factor,
        )

    def _start(self, start: Start) -> Plan:
        children = {child.name: child for child in self.observed.children}
        replaced = (children[name] for name in start.replaces)
        stops = tuple(DeleteTrainingJob(child.name, child.uid) for child in replaced)
        return Plan(self.policy.status, actions=(*stops, CreateTrainingJob(start.request)))

    def _surplus(self) -> list[Child]:
        spec = self.policy.spec
        limits = {"Succeeded": spec.successful_jobs_history_limit, "Failed": spec.failed_jobs_history_limit}
        surplus: list[Child] = []
        for outcome, limit in limits.items():
            ended = [
                child for child in self.observed.children if child.outcome == outcome and not child.deleting
            ]
            ended.sort(key=lambda child: (child.created, child.name))
            surplus += ended[: max(0, len(ended) - limit)]
        return surplus

    def _told(self) -> set[str]:
        """Names of all trainings that the stored status tells of."""
        return {each.name for each in (*self.policy.status.active, *self.policy.status.history)}

    def _history(self) -> list[PastTraining]:
        told = {past.name: past for past in self.policy.status.history}
        for child in self.observed.children:
            if child.outcome is not None:
                told[child.name] = _past(child, told.get(child.name))
        here = {child.name for child in self.observed.children}
        for started in self.policy.status.active:
            if started.name not in here and started.name not in told:
                told[started.name] = PastTraining(
                    name=started.name,
                    trigger=started.trigger,
                    start_time=started.start_time,
                    events_until=started.events_until,
                    outcome="Deleted",
                    completion_time=conditions.timestamp(self.now),
                )
        for past in told.values():
            # A TrainingJob may be deleted before the gates of its version are evaluated.
            if past.promoted is None and past.name in self.observed.promoted:
                told[past.name] = past.model_copy(update={"promoted": self.observed.promoted[past.name]})
        newest_first = sorted(told.values(), key=lambda past: (past.start_time, past.name), reverse=True)
        kept = self._history_kept()
        recent = (conditions.timestamp(self.now - self._memory()), "")
        return [
            past
            for number, past in enumerate(newest_first)
            if number < kept or (past.start_time, "") >= recent
        ][:MAX_HISTORY]

    def _history_kept(self) -> int:
        spec = self.policy.spec
        return max(10, spec.successful_jobs_history_limit + spec.failed_jobs_history_limit)

    def _memory(self) -> timedelta:
        """How far back the limits look."""
        return max(DAY, timedelta(seconds=self.policy.spec.cooldown_seconds))

    def _invalid(self, message: str) -> Plan:
        status = self._status("Invalid", conditions.stalled("InvalidSchedule", message))
        return Plan(status, events=self._news("Warning", "InvalidSchedule", message))

    def _rest(self, schedule: Schedule | None, hold: Hold | None, refusal: Refusal | None = None) -> Plan:
        upcoming = schedule.next(self.now) if schedule is not None and not self.policy.spec.suspend else None
        active = [child for child in self.observed.children if child.active]
        events: tuple[Event, ...] = ()
        phase: PolicyPhase
        if hold is not None:
            message = f"{hold.request.trigger.value} training ({hold.request.message}): {hold.message}"
            if hold.until is not None:
                message += f"; not before {conditions.timestamp(hold.until)}"
            phase = "Training" if active else "Held"
            observations = _standing(refusal)(hold.reason, message)
            events = self._news("Normal" if refusal is None else "Warning", hold.reason, message)
        elif active:
            phase, names = "Training", ", ".join(child.name for child in active)
            observations = conditions.ready("Training", f"{names} is active")
        elif self.policy.spec.suspend:
            phase, observations = "Suspended", conditions.ready("Suspended", "spec.suspend is true")
        else:
            when = f"next training {conditions.timestamp(upcoming)}" if upcoming else "waits for a request"
            phase, observations = "Idle", conditions.ready("Idle", when)
        status = self._status(phase, observations, upcoming=upcoming)
        memory, rollback = self._looked()
        trial = memory.watch.trial
        return Plan(
            status,
            events=(
                *monitoring_events(self.policy, self._assessment(), memory, rollback),
                *self._started_events(),
                *events,
            ),
            retry=refusal is not None and not refusal.final,
            requeue_after=self._wake_up(
                upcoming, hold.until if hold else None, trial.until if trial is not None else None
            ),
        )

    def _wake_up(self, *moments: datetime | None) -> float | None:
        upcoming = [moment for moment in moments if moment is not None]
        if not upcoming:
            return None
        # Rather a little late than too early: nothing would be due then.
        wait = min(upcoming) - self.now + timedelta(milliseconds=10)
        return max(timedelta(0), min(wait, LONGEST_SLEEP)).total_seconds()

    def _news(self, type_: conditions.EventType, reason: str, message: str) -> tuple[Event, ...]:
        if conditions.reason_of(self.policy.status.conditions, "Ready") == reason:
            return ()
        return (Event(type_, reason, message),)

    def _started_events(self) -> tuple[Event, ...]:
        told = self._told()
        return tuple(
            Event("Normal", "TrainingStarted", f"created TrainingJob {child.name}: {child.trigger.value}")
            for child in sorted(self.observed.children, key=lambda child: child.created)
            if child.name not in told and not child.deleting
        )

    def _status(
        self,
        phase: PolicyPhase,
        observations: tuple[Observation, ...],
        *,
        upcoming: datetime | None = None,
    ) -> RetrainingPolicyStatus:
        old, generation = self.policy.status, self.policy.metadata.generation
        memory, rollback = self._looked()
        told = (*observations, *monitoring_conditions(self.policy, self._assessment(), memory, rollback))
        active = sorted(
            (child for child in self.observed.children if child.outcome is None),
            key=lambda child: (child.created, child.name),
        )
        return RetrainingPolicyStatus(
            phase=phase,
            conditions=conditions.merge(old.conditions, told, generation=generation, now=self.now),
            observed_generation=generation,
            active=[_started(child) for child in active][-MAX_HISTORY:],
            history=self._history(),
            fruitless_trainings=backoff(self._trainings(), self._limits()).fruitless or None,
            last_training_time=self._last_training_time(),
            last_schedule_time=last_schedule_time(self.policy, self.observed.children),
            observed_schedule=observed_schedule(self.policy, self.now, created=self.created),
            next_scheduled_time=conditions.timestamp(upcoming) if upcoming else None,
            last_manual_request=self._last_manual_request(),
            last_check_request=self.observed.checked_for or old.last_check_request,
            **monitoring_fields(self.policy, self.observed.monitors, self.observed.checked_at, memory),
        )

    def _last_training_time(self) -> str | None:
        times = [conditions.timestamp(child.created) for child in self.observed.children]
        if (told := self.policy.status.last_training_time) is not None:
            times.append(told)
        return max(times, default=None)

    def _last_manual_request(self) -> str | None:
        manual = [child for child in self.observed.children if child.trigger is RetrainingTrigger.MANUAL]
        newest = max(manual, key=lambda child: (child.created, child.name), default=None)
        value = self.policy.metadata.annotations.get(RETRAIN_ANNOTATION, "")[:MAX_MANUAL_KEY]
        if any(child.key == value for child in manual):
            return value
        told = self.policy.status.last_manual_request
        return told if told is not None or newest is None else newest.key


def _standing(refusal: Refusal | None) -> Callable[[str, str], tuple[Observation, ...]]:
    """What a training that waits says of its policy: its limits are as asked for, a refusal is not."""
    if refusal is None:
        return conditions.ready
    return conditions.stalled if refusal.final else conditions.reconciling


def _started(child: Child) -> StartedTraining:
    return StartedTraining(
        name=child.name,
        trigger=child.trigger.value,
        start_time=conditions.timestamp(child.created),
        events_until=conditions.timestamp(child.events_until) if child.events_until is not None else None,
    )


def _past(child: Child, told: PastTraining | None) -> PastTraining:
    # A ModelVersion may be gone by now.
    known = told.promoted if told is not None else None
    return PastTraining(
        **_started(child).model_dump(),
        outcome="Succeeded" if child.outcome == "Succeeded" else "Failed",
        completion_time=child.completed,
        promoted=child.promoted if child.promoted is not None else known,
        policy_generation=child.generation,
    )
