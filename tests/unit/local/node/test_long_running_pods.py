"""Probes, delays between restarts, and which pods a Service leads to."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mlinfra.local.node.pod_status import ContainerObservation, Running, pod_status
from mlinfra.local.node.probes import Probe, Verdict
from mlinfra.local.node.refusal import refusal_of
from mlinfra.local.node.restarts import (
    LONGEST_DELAY_SECONDS,
    crashes_in_a_row,
    is_restarted,
    restart_delay,
)
from mlinfra.local.node.service_proxy import Front, backends_of, fronts_of

Object = dict[str, Any]


@given(
    answers=st.lists(st.booleans(), max_size=40),
    successes=st.integers(1, 4),
    failures=st.integers(1, 4),
)
def test_a_probe_turns_after_so_many_answers_of_one_kind_in_a_row(
    answers: list[bool], successes: int, failures: int
) -> None:
    probe = Probe({}, successes=successes, failures=failures)
    verdict, seen = Verdict(), []
    for good in answers:
        before, verdict = verdict, verdict.after(good, probe)
        seen.append(good)
        needed = successes if good else failures
        tail = seen[-needed:]
        if len(tail) == needed and set(tail) == {good}:
            assert verdict.healthy is good
        else:
            assert verdict.healthy is before.healthy


@given(crashes=st.integers(1, 10_000))
def test_delays_between_restarts_double_up_to_five_minutes(crashes: int) -> None:
    delay = restart_delay(crashes)
    assert delay == min(10 * 2 ** (crashes - 1), LONGEST_DELAY_SECONDS)
    assert crashes_in_a_row(crashes, lasted=601) == 1
    assert crashes_in_a_row(crashes, lasted=599) == crashes + 1


def test_the_restart_policy_decides_on_the_exit_code() -> None:
    asked = {policy: [is_restarted(policy, code) for code in (0, 1)] for policy in POLICIES}
    assert asked == {"Always": [True, True], "OnFailure": [False, True], "Never": [False, False]}


POLICIES = ("Always", "OnFailure", "Never")


def service(**spec: Any) -> Object:
    known = {
        "clusterIP": "127.96.0.9",
        "selector": {"app": "a"},
        "ports": [{"port": 8080, "targetPort": "http"}],
    }
    return {"metadata": {"name": "s", "namespace": "n"}, "spec": known | spec}


def pod(
    address: str,
    *,
    ready: bool = True,
    namespace: str = "n",
    labels: Object | None = None,
    leaving: bool = False,
) -> Object:
    metadata: Object = {
        "namespace": namespace,
        "labels": {"app": "a", "more": "b"} if labels is None else labels,
    }
    if leaving:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return {
        "metadata": metadata,
        "spec": {"containers": [{"name": "main", "ports": [{"name": "http", "containerPort": 9000}]}]},
        "status": {"podIP": address, "conditions": [{"type": "Ready", "status": str(ready)}]},
    }


def test_a_service_is_answered_at_its_cluster_address_unless_it_has_no_pods_to_find() -> None:
    assert list(fronts_of(service())) == [Front("127.96.0.9", 8080, ("n", "s"), "")]
    for spec in ({"clusterIP": "None"}, {"selector": None}, {"type": "ExternalName"}):
        assert list(fronts_of(service(**spec))) == []


def test_only_pods_that_are_ready_stay_and_match_get_connections() -> None:
    pods = [
        pod("127.128.0.3"),
        pod("127.128.0.2"),
        pod("127.128.0.4", ready=False),
        pod("127.128.0.5", leaving=True),
        pod("127.128.0.6", namespace="other"),
        pod("127.128.0.7", labels={"app": "b"}),
    ]
    assert backends_of(service(), "", pods) == [("127.128.0.2", 9000), ("127.128.0.3", 9000)]
    by_number = service(ports=[{"port": 8080, "targetPort": 7000}])
    assert backends_of(by_number, "", pods[:1]) == [("127.128.0.3", 7000)]
    unknown = service(ports=[{"port": 8080, "targetPort": "grpc"}])
    assert backends_of(unknown, "", pods) == []


def test_a_pod_is_ready_when_its_containers_probes_say_so() -> None:
    document = {"metadata": {"name": "p", "namespace": "n"}, "spec": {}, "status": {}}
    for ready in (True, False):
        container = ContainerObservation("main", "image", Running(1, 0.0), started=True, ready=ready)
        status = pod_status(document, [container], address="127.128.0.2", start_time=0.0, now=0.0)
        conditions = {item["type"]: item["status"] for item in status["conditions"]}
        assert conditions["Ready"] == str(ready)
        assert status["containerStatuses"][0]["ready"] is ready


def test_a_probe_that_the_node_cannot_do_is_refused() -> None:
    container = {"name": "main", "command": ["a"], "readinessProbe": {"grpc": {"port": 1}}}
    refused = refusal_of({"spec": {"containers": [container]}})
    assert refused is not None
    assert (refused.reason, refused.container) == ("HandlerNotSupported", "main")
    assert "readinessProbe" in refused.message
    assert refusal_of({"spec": {"containers": [{"name": "main", "command": ["a"]}]}}) is None
