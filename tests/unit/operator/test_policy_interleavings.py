"""Whatever the order of events: a policy trains each request once and within its limits, and comes to rest.

The real controllers of policies, trainings and versions run together, as in `test_interleavings`.
"""

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from unit.operator.simulation.simulation import Simulation

from mlinfra.kube.resource import RETRAINING_POLICIES, TRAINING_JOBS, ResourceType
from mlinfra.resources.names import (
    RETRAIN_ANNOTATION,
    TRIGGER_ANNOTATION,
    TRIGGER_KEY_ANNOTATION,
)
from mlinfra.retraining.triggers import MonitorOutcome, MonitorResult, RetrainingTrigger
from mlinfra_operator.retrainingpolicy.checks import Checked

Object = dict[str, Any]
START = datetime(2026, 3, 28, 20, 0, tzinfo=UTC)
POLICY = "p"
LIMITS = {"Succeeded": "successfulJobsHistoryLimit", "Failed": "failedJobsHistoryLimit"}
ENDED = tuple(LIMITS)
EVENTS = (
    "a person asks",
    "a person asks",
    "monitors tell",
    "training starts",
    "training completes",
    "training completes",
    "training fails",
    "a person deletes a training",
    "a person suspends or resumes",
    "a person changes the policy",
    "time passes",
    "time passes",
    "one watch tells",
    "quota is reached or raised",
    "garbage is collected",
    "operator restarts",
    "an earlier operator wakes",
    "MLflow goes or comes",
    "all settles",
)
MINUTES = (1, 20, 90, 700)
WATCHED = ("trainingjobs", "modelversions", "retrainingpolicies", "jobs")


class PolicyInterleavings(RuleBasedStateMachine):
    @initialize(
        concurrency=st.sampled_from(["Allow", "Forbid", "Replace"]),
        cooldown=st.sampled_from([0, 600, 7200]),
        budget=st.one_of(st.none(), st.integers(1, 3)),
        keep=st.integers(0, 2),
    )
    def a_person_applies_a_policy(
        self, concurrency: str, cooldown: int, budget: int | None, keep: int
    ) -> None:
        self.cluster = Simulation(START)
        self.api = self.cluster.api
        self.requests = 0
        spec = {
            "modelName": "model",
            "trainingJobTemplate": {"spec": {"modelName": "model", "image": "image"}},
            "schedule": "15 * * * *",
            "timeZone": "Europe/Berlin",
            "concurrencyPolicy": concurrency,
            "cooldownSeconds": cooldown,
            "successfulJobsHistoryLimit": keep,
            "failedJobsHistoryLimit": keep,
            "performance": {"threshold": 0.8},
        }
        if budget is not None:
            spec["maxRunsPerDay"] = budget
        body = {"apiVersion": RETRAINING_POLICIES.api_version, "kind": "RetrainingPolicy", "spec": spec}
        self.api.put(RETRAINING_POLICIES, body | {"metadata": {"name": POLICY}}, "user")
        self.api.on_create = self._check_creation

    def teardown(self) -> None:
        if hasattr(self, "cluster"):
            try:
                self.all_settles()
            finally:
                self.cluster.close()

    @rule(
        events=st.lists(
            st.tuples(st.sampled_from(EVENTS), st.integers(0, 3), st.booleans()), min_size=1, max_size=6
        )
    )
    def things_happen(self, events: list[tuple[str, int, bool]]) -> None:
        for event in events:
            self._happen(*event)

    def _happen(self, event: str, number: int, flag: bool) -> None:
        match event:
            case "a person asks":
                # A value that is there already, or was before, or a new one.
                self.requests += flag
                self._annotate(str(self.requests - number if number < self.requests else self.requests))
            case "monitors tell":
                outcome = MonitorOutcome.BREACHED if flag else list(MonitorOutcome)[number]
                result = MonitorResult(
                    RetrainingTrigger.PERFORMANCE,
                    outcome,
                    self.cluster.now - timedelta(minutes=number),
                    message=f"performance is {outcome}",
                )
                self.cluster.monitors.said = Checked(self.cluster.now, (result,))
            case "a person deletes a training":
                if (name := self._training(number, active=flag)) is not None:
                    obj = self.api.objects["trainingjobs", name]
                    self.api.begin_deletion(TRAINING_JOBS, name, obj["metadata"]["uid"])
            case "a person suspends or resumes":
                self._change({"suspend": flag})
            case "a person changes the policy":
                concurrency = ("Allow", "Forbid", "Replace", "Forbid")[number]
                self._change({"concurrencyPolicy": concurrency, "cooldownSeconds": 600 * flag})
            case "time passes":
                self.cluster.now += timedelta(minutes=MINUTES[number])
            case "one watch tells":
                self.cluster.operator.deliver(WATCHED[number])
            case "quota is reached or raised":
                self.api.refused = {TRAINING_JOBS.plural} if flag else set()
            case "garbage is collected":
                self.api.collect_garbage()
            case "operator restarts":
                self.cluster.restart()
            case "an earlier operator wakes":
                self.cluster.wake(number)
            case "MLflow goes or comes":
                self.cluster.remote.away = flag
            case "all settles":
                self.all_settles()
            case _:
                if (name := self._training(number, active=True)) is not None:
                    self.cluster.training(name, event, accuracy=0.9)

    def _annotate(self, value: str) -> None:
        patch = {"metadata": {"annotations": {RETRAIN_ANNOTATION: value}}}
        self.api.change(RETRAINING_POLICIES, POLICY, patch, "user")

    def _change(self, spec: Object) -> None:
        self.api.change(RETRAINING_POLICIES, POLICY, {"spec": spec}, "user")

    def _training(self, number: int, *, active: bool) -> str | None:
        names = sorted(
            obj["metadata"]["name"]
            for obj in self.api.of(TRAINING_JOBS)
            if not active or _phase(obj) not in ENDED
        )
        return names[number % len(names)] if names else None

    @rule(
        order=st.randoms(use_true_random=False),
        fresh=st.booleans(),
        seconds=st.integers(-1, 60),
        fault=st.sampled_from(["none", "none", "lost", "killed"]),
        countdown=st.integers(0, 12),
        after=st.booleans(),
    )
    def operator_works(
        self, order: Random, fresh: bool, seconds: int, fault: str, countdown: int, after: bool
    ) -> None:
        self.cluster.now += timedelta(seconds=seconds)
        if fresh:
            self.cluster.operator.deliver()
        self.cluster.work(order, fault=fault, countdown=countdown, after=after)

    def all_settles(self) -> None:
        self.api.refused = set()
        self.cluster.settle()
        status, trainings = self._policy()["status"], self.api.of(TRAINING_JOBS)
        assert {each["name"] for each in status.get("active", ())} == {
            obj["metadata"]["name"] for obj in trainings if _phase(obj) not in ENDED
        }
        history = {each["name"]: each["outcome"] for each in status.get("history", ())}
        for obj in trainings:
            if _phase(obj) in ENDED:
                assert history[obj["metadata"]["name"]] == _phase(obj)
        spec = self._policy()["spec"]
        for outcome, limit in zip(
            ENDED, ("successfulJobsHistoryLimit", "failedJobsHistoryLimit"), strict=True
        ):
            assert sum(_phase(obj) == outcome for obj in trainings) <= spec[limit]

    def _policy(self) -> Object:
        return self.api.objects[RETRAINING_POLICIES.plural, POLICY]

    def _check_creation(self, resource: ResourceType, created: Object) -> None:
        if resource != TRAINING_JOBS:
            return
        policy, now = self._policy(), self.cluster.now
        spec = policy["spec"]
        trigger = created["metadata"]["annotations"][TRIGGER_ANNOTATION]
        told = {
            each["name"]: datetime.fromisoformat(each["startTime"])
            for field in ("active", "history")
            for each in (policy.get("status") or {}).get(field, ())
        }
        trainings = self.api.of(TRAINING_JOBS)
        assert created["metadata"]["name"] not in told
        assert _request(created) not in {_request(obj) for obj in trainings}
        active = [obj["metadata"]["name"] for obj in trainings if _phase(obj) not in ENDED]
        assert not active or spec["concurrencyPolicy"] == "Allow", active
        if spec.get("suspend"):
            assert trigger == RetrainingTrigger.MANUAL
        # What a person deletes before any status tells of it, nobody can know.
        started = [
            *told.values(),
            *(
                datetime.fromisoformat(obj["metadata"]["creationTimestamp"])
                for obj in trainings
                if obj["metadata"]["name"] not in told
            ),
        ]
        if spec.get("maxRunsPerDay") is not None:
            assert sum(each > now - timedelta(days=1) for each in started) < spec["maxRunsPerDay"]
        if trigger != RetrainingTrigger.MANUAL and started:
            assert now - max(started) >= timedelta(seconds=spec["cooldownSeconds"])


def _phase(obj: Object) -> str | None:
    found: str | None = (obj.get("status") or {}).get("phase")
    return found


def _request(obj: Object) -> tuple[str, str]:
    annotations = obj["metadata"]["annotations"]
    return annotations[TRIGGER_ANNOTATION], annotations[TRIGGER_KEY_ANNOTATION]


TestPolicyInterleavings = PolicyInterleavings.TestCase
TestPolicyInterleavings.settings = settings(
    max_examples=100,
    stateful_step_count=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
