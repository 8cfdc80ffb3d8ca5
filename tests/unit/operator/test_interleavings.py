"""Whatever the order of events: one Job, one run and one version a TrainingJob, one Production a model.

The real plans and controllers run against an API server and an MLflow in memory, which lose answers,
go away, and are watched late; the operator is killed at any request.
"""

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from unit.operator.simulation.api_server import ended
from unit.operator.simulation.simulation import Simulation

from mlinfra.kube.resource import JOBS, MODEL_VERSIONS, TRAINING_JOBS
from mlinfra.resources.names import FIELD_MANAGER, QUEUE_LABEL
from mlinfra.tracking.contract import STAGE_ALIASES, TRAINING_JOB_UID_TAG

Object = dict[str, Any]
JOB_NAMES = ("a", "b", "c")
QUEUED_NAMES = ("b", "c")
"""Those that wait in a queue, which may admit and evict them."""
EVENTS = (
    "user applies",
    "training completes",
    "user applies",
    "training completes",
    "training starts",
    "training fails",
    "user asks for a stage",
    "user deletes",
    "user deletes a version",
    "user suspends or resumes",
    "user changes what may change",
    "garbage is collected",
    "queue admits",
    "queue admits",
    "queue evicts",
    "operator restarts",
    "MLflow goes or comes",
    "all settles",
)


class Interleavings(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.cluster = Simulation(datetime(2026, 1, 1, tzinfo=UTC))
        self.api, self.store = self.cluster.api, self.cluster.store
        self.terminal: dict[str, str] = {}
        self.suspensions: dict[str, int] = {}
        self.given_up: set[str] = set()
        """Versions whose ModelVersion was deleted with them."""

    def teardown(self) -> None:
        if hasattr(self, "cluster"):
            try:
                self.all_settles()
            finally:
                self.cluster.close()

    @rule(
        events=st.lists(
            st.tuples(
                st.sampled_from(EVENTS),
                st.sampled_from(JOB_NAMES),
                st.sampled_from(["Production", "Staging", "Archived"]),
                st.sampled_from([0.9, 0.7]),
            ),
            min_size=1,
            max_size=6,
        )
    )
    def things_happen(self, events: list[tuple[str, str, str, float]]) -> None:
        for event in events:
            self._happen(*event)

    def _happen(self, event: str, name: str, stage: str, accuracy: float) -> None:
        # One rule, not many: Hypothesis leaves out half of many, and little would come to an end.
        match event:
            case "user applies":
                self.user_applies(
                    name,
                    0.8 if stage == "Production" else None,
                    deletion="Delete" if accuracy < 0.8 else "Retain",
                )
            case "user deletes":
                self.user_deletes(name)
            case "user deletes a version":
                self.user_deletes_a_version(1 + JOB_NAMES.index(name))
            case "user asks for a stage":
                self.user_asks_for_a_stage(1 + JOB_NAMES.index(name), stage)
            case "user suspends or resumes":
                self.user_suspends_or_resumes(name)
            case "user changes what may change":
                self.user_changes_what_may_change(name, 600 if stage == "Production" else 1200)
            case "queue admits" | "queue evicts":
                self.queue_decides(name, held=event == "queue evicts")
            case "garbage is collected":
                self.api.collect_garbage()
            case "operator restarts":
                self.cluster.restart()
            case "MLflow goes or comes":
                self.cluster.remote.away = accuracy < 0.8
            case "all settles":
                self.all_settles()
            case _:
                self.cluster.training(name, event, accuracy)

    def user_applies(self, name: str, minimum: float | None, *, deletion: str) -> None:
        if ("trainingjobs", name) not in self.api.objects:
            gates = [] if minimum is None else [{"metric": "test_accuracy", "min": minimum}]
            spec: Object = {
                "modelName": "model",
                "image": "image",
                "promotion": {"gates": gates, "deletionPolicy": deletion},
            }
            if name in QUEUED_NAMES:
                spec["queue"] = {"name": "team"}
            body = {"apiVersion": TRAINING_JOBS.api_version, "kind": "TrainingJob", "spec": spec}
            self.api.put(TRAINING_JOBS, body | {"metadata": {"name": name}}, "user")

    def user_deletes(self, name: str) -> None:
        self.api.objects.pop(("trainingjobs", name), None)

    def user_deletes_a_version(self, number: int) -> None:
        obj = self.api.objects.get(("modelversions", f"model-{number}"))
        if obj is None:
            return
        metadata = obj["metadata"]
        if obj["spec"]["deletionPolicy"] == "Delete" and metadata.get("finalizers"):
            self.given_up.add(str(number))
        self.api.begin_deletion(MODEL_VERSIONS, metadata["name"], metadata["uid"])

    def user_suspends_or_resumes(self, name: str) -> None:
        obj = self.api.objects.get(("trainingjobs", name))
        if obj is not None:
            suspend = not obj["spec"].get("suspend", False)
            self.suspensions[obj["metadata"]["uid"]] = (
                self.suspensions.get(obj["metadata"]["uid"], 0) + suspend
            )
            self.api.change(TRAINING_JOBS, name, {"spec": {"suspend": suspend}}, "user")

    def user_changes_what_may_change(self, name: str, deadline: int) -> None:
        """While it is suspended, or in a suspension that is over before anybody looks."""
        obj = self.api.objects.get(("trainingjobs", name))
        if obj is None:
            return
        suspended = obj["spec"].get("suspend", False)
        if not suspended:
            self.user_suspends_or_resumes(name)
        self.api.change(TRAINING_JOBS, name, {"spec": {"activeDeadlineSeconds": deadline}}, "user")
        if not suspended:
            self.user_suspends_or_resumes(name)

    def queue_decides(self, name: str, *, held: bool) -> None:
        job = self.api.objects.get(("jobs", name))
        if job is None or job["metadata"]["labels"].get(QUEUE_LABEL) is None or ended(job):
            return
        selector = None if held else {"flavor": "spot"}
        patch = {"suspend": held, "template": {"spec": {"nodeSelector": selector}}}
        self.api.change(JOBS, name, {"spec": patch}, "kueue")
        if held:
            self.api.change(
                JOBS, name, {"status": {"active": 0, "ready": 0, "startTime": None}}, "kueue", spec=False
            )

    def user_asks_for_a_stage(self, number: int, stage: str) -> None:
        if ("modelversions", f"model-{number}") in self.api.objects:
            patch = {"spec": {"stage": stage}}
            self.api.change(MODEL_VERSIONS, f"model-{number}", patch, "user")

    @rule(
        order=st.randoms(use_true_random=False),
        fresh=st.booleans(),
        seconds=st.integers(-1, 2),
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
        self.cluster.settle()
        self._check_settled()

    def _check_settled(self) -> None:
        for obj in self.api.of(TRAINING_JOBS):
            phase = obj["status"]["phase"]
            child = self.api.objects.get(("jobs", obj["metadata"]["name"]))
            if child is None:
                assert phase in ("Suspended", "Succeeded", "Failed"), obj["status"]
                continue
            assert phase != "Suspended"
            held = child["spec"].get("suspend", False)
            assert ended(child) or (phase == "Queued") == held, obj["status"]
            deadlines = [each["spec"].get("activeDeadlineSeconds") for each in (obj, child)]
            assert ended(child) or deadlines[0] == deadlines[1], deadlines
            ends = {item["type"] for item in (child.get("status") or {}).get("conditions", [])}
            expected = {"Complete": "Succeeded", "Failed": "Failed"}.get(next(iter(ends), ""))
            assert expected in (None, phase), obj["status"]
        claims = [
            (obj["status"]["productionClaimedAt"], int(obj["spec"]["version"]))
            for obj in self.api.of(MODEL_VERSIONS)
            if obj["status"].get("productionClaimedAt")
        ]
        if claims:
            assert self.store.in_production("model") == [str(max(claims)[1])]
            assert self.store.models["model"].aliases[STAGE_ALIASES["Production"]] == str(max(claims)[1])
        assert not [obj for obj in self.api.of(MODEL_VERSIONS) if "deletionTimestamp" in obj["metadata"]]
        assert set(self.store.deleted) == self.given_up
        for obj in self.api.of(MODEL_VERSIONS):
            wanted, status = obj["spec"]["stage"], obj["status"]
            assert status["phase"] in (wanted, "GatesFailed", "Archived"), obj

    @invariant()
    def one_job_one_run_one_version(self) -> None:
        if not hasattr(self, "api"):
            return
        for uid, count in self.api.children_created.items():
            assert count <= 1 + self.suspensions.get(uid, 0)
        runs = [run.data.tags[TRAINING_JOB_UID_TAG] for run in self.store.runs.values()]
        assert len(runs) == len(set(runs))
        versions = [
            version.tags[TRAINING_JOB_UID_TAG]
            for model in self.store.models.values()
            for version in model.versions.values()
        ]
        assert len(versions) == len(set(versions))

    @invariant()
    def terminal_stays_terminal(self) -> None:
        if not hasattr(self, "api"):
            return
        for obj in self.api.of(TRAINING_JOBS):
            uid, phase = obj["metadata"]["uid"], (obj.get("status") or {}).get("phase")
            assert self.terminal.get(uid, phase) == phase
            if phase in ("Succeeded", "Failed"):
                self.terminal[uid] = phase

    @invariant()
    def an_archived_version_was_archived_by_its_owner(self) -> None:
        if not hasattr(self, "api"):
            return
        for obj in self.api.of(MODEL_VERSIONS):
            manager = obj["metadata"]["managedFields"][0]["manager"]
            if obj["spec"]["stage"] == "Archived":
                assert manager in ("user", FIELD_MANAGER)


TestInterleavings = Interleavings.TestCase
TestInterleavings.settings = settings(
    max_examples=100,
    stateful_step_count=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
