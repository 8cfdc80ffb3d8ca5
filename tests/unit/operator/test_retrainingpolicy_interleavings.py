"""Whatever happens in whatever order, a policy trains each request once and within its limits."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mlinfra.resources import RetrainingPolicy
from mlinfra.resources.names import RETRAIN_ANNOTATION, TRIGGER_ANNOTATION, TRIGGER_KEY_ANNOTATION
from mlinfra.retraining.triggers import MonitorOutcome, MonitorResult, RetrainingTrigger
from mlinfra_operator.conditions import timestamp
from mlinfra_operator.retrainingpolicy.actions import CreateTrainingJob, DeleteTrainingJob, Plan
from mlinfra_operator.retrainingpolicy.builder import build_training_job
from mlinfra_operator.retrainingpolicy.observed import Observed, child_of
from mlinfra_operator.retrainingpolicy.plan import plan

START = datetime(2026, 3, 28, 20, 0, tzinfo=UTC)
MAX_PLANS = 12

Object = dict[str, Any]


class PolicyMachine(RuleBasedStateMachine):
    """The API server's objects, and an operator that may die between any two of its steps."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.jobs: dict[str, Object] = {}
        self.creations = 0
        self.created: dict[str, datetime] = {}
        self.monitors: tuple[MonitorResult, ...] = ()
        self.policy: Object = {}
        self.schedule_set = START

    @initialize(
        concurrency=st.sampled_from(["Allow", "Forbid", "Replace"]),
        cooldown=st.sampled_from([0, 600, 7200]),
        budget=st.one_of(st.none(), st.integers(1, 3)),
        deadline=st.one_of(st.none(), st.sampled_from([0, 300])),
        keep=st.integers(0, 2),
    )
    def create_policy(
        self, concurrency: str, cooldown: int, budget: int | None, deadline: int | None, keep: int
    ) -> None:
        spec = {
            "modelName": "m",
            "trainingJobTemplate": {"spec": {"modelName": "m", "image": "i"}},
            "schedule": "15 * * * *",
            "timeZone": "Europe/Berlin",
            "concurrencyPolicy": concurrency,
            "cooldownSeconds": cooldown,
            "maxRunsPerDay": budget,
            "startingDeadlineSeconds": deadline,
            "successfulJobsHistoryLimit": keep,
            "failedJobsHistoryLimit": keep,
        }
        metadata = {"name": "p", "namespace": "n", "uid": "u", "generation": 1, "annotations": {}}
        self.policy = {"metadata": metadata, "spec": spec, "status": {}}

    @rule(minutes=st.sampled_from([1, 7, 30, 90, 600]))
    def time_passes(self, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)

    @rule(value=st.sampled_from(["a", "b", "c"]))
    def a_person_asks(self, value: str) -> None:
        self.policy["metadata"]["annotations"][RETRAIN_ANNOTATION] = value

    @rule(outcome=st.sampled_from(list(MonitorOutcome)), trigger=st.sampled_from(["drift", "performance"]))
    def a_monitor_tells(self, outcome: MonitorOutcome, trigger: str) -> None:
        self.monitors = (MonitorResult(RetrainingTrigger(trigger), outcome, self.now),)

    @rule(suspend=st.booleans())
    def a_person_suspends(self, suspend: bool) -> None:
        self.policy["spec"]["suspend"] = suspend

    @rule(
        schedule=st.sampled_from(["15 * * * *", "30 2 * * *", "0 * * * *"]),
        zone=st.sampled_from(["Europe/Berlin", "Asia/Kolkata"]),
    )
    def a_person_sets_the_schedule(self, schedule: str, zone: str) -> None:
        spec, asked = self.policy["spec"], {"schedule": schedule, "timeZone": zone}
        if asked.items() <= spec.items():
            return
        self.policy["spec"] = {**spec, **asked}
        self.policy["metadata"]["generation"] += 1
        seen = self.policy["status"].get("observedSchedule", {})
        # What is changed and changed back before anyone looks was never changed.
        unseen = asked.items() <= seen.items()
        self.schedule_set = datetime.fromisoformat(seen["since"]) if unseen else self.now

    @rule(data=st.data(), outcome=st.sampled_from(["Succeeded", "Failed"]))
    def a_training_ends(self, data: st.DataObject, outcome: str) -> None:
        active = sorted(name for name, job in self.jobs.items() if "phase" not in job["status"])
        if active:
            status = self.jobs[data.draw(st.sampled_from(active))]["status"]
            status |= {"phase": outcome, "completionTime": timestamp(self.now)}

    @rule(data=st.data())
    def a_person_deletes_a_training(self, data: st.DataObject) -> None:
        if self.jobs:
            del self.jobs[data.draw(st.sampled_from(sorted(self.jobs)))]

    @rule(steps=st.integers(0, 4))
    def the_operator_dies_after_some_steps(self, steps: int) -> None:
        for _ in range(MAX_PLANS):
            decided = self._plan()
            for action in decided.actions:
                if steps == 0:
                    return
                steps -= 1
                self._perform(action)
            if not decided.actions:
                return

    @rule()
    def the_operator_works(self) -> None:
        for _ in range(MAX_PLANS):
            decided = self._plan()
            for action in decided.actions:
                self._perform(action)
            if decided.actions:
                continue
            self.policy["status"] = decided.status.to_wire()
            if decided.requeue_after != 0:
                break
        else:
            raise AssertionError("the policy does not come to rest")
        # Its own writes wake nobody: it must not leave anything to the next event.
        again = self._plan()
        assert (again.actions, again.events) == ((), ())
        assert again.status.to_wire() == self.policy["status"]

    def _plan(self) -> Plan:
        subject = RetrainingPolicy.model_validate(self.policy)
        observed = Observed(tuple(child_of(job) for job in self.jobs.values()), self.monitors)
        return plan(subject, observed, self.now, created=START)

    def _perform(self, action: CreateTrainingJob | DeleteTrainingJob) -> None:
        if isinstance(action, DeleteTrainingJob):
            gone = self.jobs.pop(action.name)
            if "phase" not in gone["status"]:
                assert self.policy["spec"]["concurrencyPolicy"] == "Replace"
            return
        subject = RetrainingPolicy.model_validate(self.policy)
        manifest = build_training_job(subject, action.request)
        metadata = manifest["metadata"]
        assert metadata["name"] not in self.jobs
        self._check_limits(action)
        if action.request.due is not None:
            assert action.request.due > self.schedule_set
        self.creations += 1
        self.created[metadata["name"]] = self.now
        metadata |= {"uid": f"u{self.creations}", "creationTimestamp": timestamp(self.now)}
        self.jobs[metadata["name"]] = {**manifest, "status": {}}

    def _check_limits(self, action: CreateTrainingJob) -> None:
        spec, trigger = self.policy["spec"], action.request.trigger
        active = [name for name, job in self.jobs.items() if "phase" not in job["status"]]
        if spec["concurrencyPolicy"] != "Allow":
            assert not active
        if spec.get("suspend"):
            assert trigger is RetrainingTrigger.MANUAL
        remembered = [moment for name, moment in self.created.items() if self._is_known(name)]
        if spec["maxRunsPerDay"] is not None:
            recent = [moment for moment in remembered if moment > self.now - timedelta(days=1)]
            assert len(recent) < spec["maxRunsPerDay"]
        if trigger is not RetrainingTrigger.MANUAL and remembered:
            assert self.now - max(remembered) >= timedelta(seconds=spec["cooldownSeconds"])
        if trigger is RetrainingTrigger.SCHEDULED and spec["startingDeadlineSeconds"] is not None:
            late = self.now - datetime.fromisoformat(action.request.key)
            assert late <= timedelta(seconds=spec["startingDeadlineSeconds"])

    def _is_known(self, name: str) -> bool:
        """Whether object or status tells of it: what a person deletes before that, nobody can know."""
        status = self.policy["status"]
        told = (*status.get("active", ()), *status.get("history", ()))
        return name in self.jobs or any(each["name"] == name for each in told)

    @invariant()
    def nothing_that_is_known_is_trained_twice(self) -> None:
        keys = [
            (
                job["metadata"]["annotations"][TRIGGER_ANNOTATION],
                job["metadata"]["annotations"][TRIGGER_KEY_ANNOTATION],
            )
            for job in self.jobs.values()
        ]
        assert len(keys) == len(set(keys))


TestPolicyInterleavings = PolicyMachine.TestCase
TestPolicyInterleavings.settings = settings(max_examples=120, stateful_step_count=40)
