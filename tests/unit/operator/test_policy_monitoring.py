"""What a policy asks of its model's server, and what becomes of the answers."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from unit.operator.objects import training_job
from unit.operator.test_retrainingpolicy_plan import NOW, child, planned, policy, request_of

from mlinfra.kube import ApiError
from mlinfra.resources import RetrainingPolicy
from mlinfra.resources.names import CHECK_ANNOTATION, CLOSE_BREAKER_ANNOTATION, EVIDENCE_ANNOTATION
from mlinfra.retraining.server_check import results_of
from mlinfra.retraining.triggers import (
    FeatureScore,
    MonitorOutcome,
    MonitorResult,
    RetrainingTrigger,
)
from mlinfra_operator import conditions
from mlinfra_operator.conditions import find
from mlinfra_operator.monitor_evidence import evidence_of, of_annotation, result_of
from mlinfra_operator.retrainingpolicy.actions import Plan, RollBack
from mlinfra_operator.retrainingpolicy.builder import build_training_job, training_job_name
from mlinfra_operator.retrainingpolicy.checks import Ask, ask_of, last_asked
from mlinfra_operator.retrainingpolicy.observed import Child, child_of
from mlinfra_operator.retrainingpolicy.promotions import Production
from mlinfra_operator.runtime.model_checks import ModelChecks
from mlinfra_operator.serving.builder import PORT

Object = dict[str, Any]
ENDED = NOW - timedelta(minutes=5)
OWN_ADDRESS = "127.93.7.5"
"""One of this machine's that nobody else listens on: the port is that of every model server."""
WATCHING: Object = {"drift": {}, "performance": {}}


def result(trigger: str, outcome: str, score: float | None = None, **facts: Any) -> MonitorResult:
    known: Object = {"window_end": ENDED, "message": f"{trigger} {outcome}", "metric": "PSI"}
    return MonitorResult(RetrainingTrigger(trigger), MonitorOutcome(outcome), score=score, **(known | facts))


def told(decided: Plan, type_: str) -> tuple[str, str]:
    condition = find(decided.status.conditions, type_)
    assert condition is not None
    return condition.status, condition.reason


def stored(decided: Plan, **spec: Any) -> RetrainingPolicy:
    return policy(status=decided.status.to_wire(), **spec)


def test_a_policy_asks_by_its_own_rules_and_drift_asks_for_performance_too() -> None:
    assert ask_of(policy()) is None
    both = ask_of(policy(drift={"threshold": 0.2}))
    assert both is not None
    assert sorted(both.body) == ["drift", "performance"]
    assert both.body["drift"]["threshold"] == 0.2
    alone = ask_of(policy(drift={"onBreach": "Retrain"}))
    assert alone is not None
    assert sorted(alone.body) == ["drift"]
    timed = ask_of(policy(performance={}, monitoring={"intervalSeconds": 7, "url": "http://a:1"}))
    assert timed is not None
    assert (timed.interval, timed.timeout, timed.url) == (7.0, 10.0, "http://a:1")
    assert timed.prometheus is None
    grouped = ask_of(policy(performance={}, monitoring={"featureGroup": {"name": "batches"}}))
    assert grouped is not None
    assert grouped.body["featureGroup"] == {"name": "batches"}
    assert len(results_of(grouped.body, {}, now=NOW)) == 1
    lost: Object = {"threshold": 0.8, "window": {"seconds": 60}}
    by_prometheus = policy(
        performance=lost,
        monitoring={"prometheus": {"serverAddress": "http://a:9090", "performance": {"query": "up"}}},
    )
    asked = ask_of(by_prometheus)
    assert asked is not None
    assert asked.prometheus is not None
    assert (asked.prometheus.drift, asked.prometheus.performance) == (None, by_prometheus.spec.performance)


def test_an_answer_that_cannot_be_read_is_an_error_and_trains_nothing() -> None:
    ask = ask_of(policy(**WATCHING))
    assert ask is not None
    drift = result("drift", "ok", 0.1)
    for report in (None, [], {}, {"drift": 5}, {"drift": {"result": {"outcome": "fine"}}}):
        outcomes = [each.outcome for each in results_of(ask.body, report, now=NOW)]
        assert outcomes == [MonitorOutcome.ERROR, MonitorOutcome.ERROR]
    mixed = results_of(ask.body, {"drift": {"result": drift.to_wire()}, "performance": None}, now=NOW)
    assert mixed[0] == drift
    assert mixed[1].outcome is MonitorOutcome.ERROR


def test_checks_are_told_with_scores_times_and_breaches_in_a_row() -> None:
    checks = (result("drift", "breached", 0.31, threshold=0.2), result("performance", "inconclusive"))
    first = planned(policy(**WATCHING), monitors=checks, checked_at=NOW)
    status = first.status
    assert status.last_drift_check_time == conditions.timestamp(NOW)
    assert (status.last_drift_score, status.last_performance_score) == ("0.31", None)
    assert [(each.trigger, each.breaches) for each in status.monitors] == [("drift", 1), ("performance", 0)]
    assert told(first, "ModelHealthy") == ("Unknown", "DriftUnjudged")
    again = planned(stored(first, **WATCHING), monitors=checks, checked_at=NOW)
    assert again.status.monitors == status.monitors
    newer = (replace(checks[0], window_end=NOW), checks[1])
    second = planned(stored(again, **WATCHING), monitors=newer, checked_at=NOW)
    assert second.status.monitors[0].breaches == 2
    failing = (result("drift", "error"), checks[1])
    third = planned(stored(second, **WATCHING), monitors=failing, checked_at=NOW)
    assert (third.status.monitors[0].breaches, third.status.last_drift_score) == (2, "0.31")
    well = (result("drift", "ok", 0.05), result("performance", "ok", 0.8))
    fourth = planned(stored(third, **WATCHING), monitors=well, checked_at=NOW)
    assert fourth.status.monitors[0].breaches == 0
    assert told(fourth, "ModelHealthy") == ("True", "Healthy")
    kept = planned(stored(fourth, **WATCHING))
    assert kept.status == fourth.status


def test_a_loss_of_performance_trains_and_says_on_what_evidence() -> None:
    lost = result(
        "performance",
        "breached",
        0.61,
        metric="accuracy",
        threshold=0.7,
        window_start=ENDED - timedelta(hours=1),
        samples=500,
        model_version="3",
    )
    drift = result("drift", "breached", 0.4, features=(FeatureScore("rsi", 0.4, 0.2),), threshold=0.2)
    subject = policy(**WATCHING)
    request = request_of(planned(subject, monitors=(drift, lost), checked_at=NOW))
    assert request.trigger is RetrainingTrigger.PERFORMANCE
    manifest = build_training_job(subject, request)
    evidence = of_annotation(manifest["metadata"]["annotations"][EVIDENCE_ANNOTATION])
    assert evidence == [evidence_of(lost), evidence_of(drift)]
    assert (evidence[0].score, evidence[0].samples, evidence[0].model_version) == ("0.61", 500, "3")
    assert evidence[1].features[0].name == "rsi"
    manifest["metadata"] |= {"uid": "u", "creationTimestamp": conditions.timestamp(NOW)}
    assert child_of(manifest).events_until == ENDED


def test_old_events_are_judged_by_event_time_once_the_training_for_them_is_gone() -> None:
    """As a replay has them: rows of years ago, and trainings of a minute ago."""
    year = timedelta(days=365)

    def lost(end: datetime) -> MonitorResult:
        return result("performance", "breached", 0.5, window_start=end - year / 4, window_end=end)

    past = {
        "name": "nightly-old",
        "trigger": "performance",
        "startTime": conditions.timestamp(NOW - timedelta(minutes=1)),
        "eventsUntil": conditions.timestamp(NOW - 5 * year),
        "outcome": "Succeeded",
    }
    subject = policy(**WATCHING, status={"history": [past]})
    same = planned(subject, monitors=(lost(NOW - 5 * year),), checked_at=NOW)
    assert same.actions == ()
    newer = planned(subject, monitors=(lost(NOW - 4 * year),), checked_at=NOW)
    assert request_of(newer).trigger is RetrainingTrigger.PERFORMANCE


def test_the_lineage_of_a_training_holds_its_evidence() -> None:
    from mlinfra_operator.trainingjob.origin import lineage_of

    drift = result("drift", "breached", 0.4)
    annotations = {
        "mlinfra.io/trigger": "drift",
        "mlinfra.io/trigger-message": "PSI 0.4",
        EVIDENCE_ANNOTATION: json.dumps([drift.to_wire()]),
    }
    job = training_job()
    subject = job.model_copy(
        update={"metadata": job.metadata.model_copy(update={"annotations": annotations})}
    )
    lineage = lineage_of(subject, None, None)
    assert lineage is not None
    assert (lineage.message, lineage.evidence) == ("PSI 0.4", [evidence_of(drift)])


@pytest.mark.parametrize("text", [None, "", "{", "{}", "[5]", '[{"trigger": "drift"}]'])
def test_an_annotation_that_a_person_edited_is_no_evidence(text: str | None) -> None:
    assert of_annotation(text) == []


def test_a_result_comes_back_from_a_status_as_far_as_decisions_go() -> None:
    known = result("performance", "ok", 0.75, metric="accuracy", model_version="2", estimated=True)
    assert result_of(evidence_of(known)) == known


ROLLING: Object = {"performance": {}, "rollback": {"observationSeconds": 3600, "maxLoss": 0.05}}
NAMES = {"1": "m-1", "2": "m-2"}
FIRST = Production("1", NOW - timedelta(days=1), promoted=True, names=NAMES)
SECOND = Production("2", NOW, promoted=True, previous="1", names=NAMES)


def performance(score: float, number: str, outcome: str = "ok") -> MonitorResult:
    return result("performance", outcome, score, metric="accuracy", model_version=number)


def on_trial() -> RetrainingPolicy:
    before = planned(policy(**ROLLING), monitors=(performance(0.8, "1"),), checked_at=NOW, production=FIRST)
    promoted = planned(stored(before, **ROLLING), production=SECOND)
    assert promoted.status.trial is not None
    assert promoted.requeue_after is not None
    return stored(promoted, **ROLLING)


def test_a_worse_version_is_rolled_back_and_the_breaker_holds_the_monitors() -> None:
    worse = (performance(0.6, "2", "breached"),)
    subject, seen = on_trial(), {"monitors": worse, "checked_at": NOW, "production": SECOND}
    later = NOW + timedelta(seconds=30)
    assert planned(subject, now=later, **seen).actions == (RollBack("m-2", "m-1"),)
    done = planned(subject, now=later, rolled_back=True, **seen)
    assert done.actions == ()
    assert told(done, "CircuitBreakerOpen") == ("True", "RolledBack")
    assert done.status.circuit_breaker is not None
    assert "RolledBack" in [event.reason for event in done.events]
    assert conditions.reason_of(done.status.conditions, "Ready") == "CircuitBreakerOpen"
    # Until MLflow has followed, the version that leaves is not looked at again.
    leaving = planned(stored(done, **ROLLING), now=later + timedelta(seconds=1), **seen)
    assert leaving.actions == ()
    assert leaving.status.circuit_breaker == done.status.circuit_breaker


def test_a_version_whose_predecessor_was_deleted_stays_and_the_policy_says_so_and_trains() -> None:
    worse = (performance(0.6, "2", "breached"),)
    alone = replace(SECOND, names={"2": "m-2"}, previous=None)
    seen = {"monitors": worse, "checked_at": NOW, "production": alone}
    asked = request_of(planned(on_trial(), now=NOW + timedelta(seconds=30), **seen))
    assert asked.trigger is RetrainingTrigger.PERFORMANCE
    training = Child(training_job_name("nightly", asked), "u", asked.trigger, asked.key, NOW)
    rested = planned(on_trial(), training, now=NOW + timedelta(seconds=30), **seen)
    assert rested.actions == ()
    assert told(rested, "CircuitBreakerOpen") == ("False", "NoVersionToGoBackTo")
    assert rested.status.trial is not None
    assert "NoVersionToGoBackTo" in [event.reason for event in rested.events]
    again = planned(stored(rested, **ROLLING), training, now=NOW + timedelta(seconds=60), **seen)
    assert "NoVersionToGoBackTo" not in [event.reason for event in again.events]
    over = planned(stored(again, **ROLLING), training, now=NOW + timedelta(seconds=3600), **seen)
    assert over.status.trial is None
    later = planned(stored(over, **ROLLING), training, now=NOW + timedelta(seconds=3601), **seen)
    assert told(later, "CircuitBreakerOpen") == ("False", "Closed")


def test_the_breaker_is_closed_by_a_person_or_by_the_schedule() -> None:
    worse = (performance(0.6, "2", "breached"),)
    done = planned(on_trial(), monitors=worse, checked_at=NOW, production=SECOND, rolled_back=True)
    status = done.status.to_wire()
    after = NOW + timedelta(minutes=10)
    back = replace(FIRST, since=NOW + timedelta(seconds=1))
    still = planned(policy(status=status, **ROLLING), now=after, production=back)
    assert still.status.circuit_breaker is not None
    closed = policy(status=status, annotations={CLOSE_BREAKER_ANNOTATION: "1"}, **ROLLING)
    decided = planned(closed, now=after, production=back)
    assert decided.status.circuit_breaker is None
    assert decided.status.last_circuit_breaker_close == "1"
    assert told(decided, "CircuitBreakerOpen") == ("False", "Closed")
    scheduled = replace(child("later"), created=after - timedelta(minutes=1))
    trained = planned(policy(status=status, **ROLLING), scheduled, now=after, production=back)
    assert trained.status.circuit_breaker is None


async def eventually(probe: Callable[[], Any]) -> Any:
    async with asyncio.timeout(10):
        while not (found := probe()):
            await asyncio.sleep(0.005)
    return found


@asynccontextmanager
async def answering(answer: bytes, *, asked: list[bytes] | None = None, port: int = 0) -> AsyncIterator[str]:
    """A server that answers everything so, and keeps the heads of what it is asked; its address."""
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if asked is not None:
                asked.append(head)
            if not answer:
                # Silent until the one who asks gives up.
                while await reader.read(4096):
                    continue
            writer.write(answer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    server = await asyncio.start_server(serve, OWN_ADDRESS, port)
    try:
        yield f"http://{OWN_ADDRESS}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()
        if serving:
            await asyncio.wait(serving)


def http(status: str, body: bytes) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


REPORT = json.dumps({"drift": {"result": result("drift", "ok", 0.1).to_wire()}}).encode()


@pytest.mark.parametrize(
    ("answer", "outcome", "message"),
    [
        (http("200 OK", REPORT), "ok", ""),
        (http("404 Not Found", b"no such route"), "error", "HTTP 404: no such route"),
        (http("200 OK", b"<html>"), "error", "Expecting value"),
        (b"", "error", "does not answer in 0.2 s"),
        (b"nonsense\r\n\r\n", "error", "http"),
    ],
    ids=["answers", "refuses", "no JSON", "is silent", "no HTTP"],
)
async def test_a_server_is_asked_again_and_again_and_its_failures_are_results(
    answer: bytes, outcome: str, message: str
) -> None:
    async with answering(answer) as url:
        notified: list[tuple[str, str]] = []
        checks = ModelChecks(nowhere, notified.append, clock=lambda: datetime.now(UTC))
        running = asyncio.create_task(checks.run())
        checks.follow(("n", "p"), Ask("n", "m", url, {"drift": {}}, interval=0.01, timeout=0.2), last=NOW)
        await eventually(lambda: len(notified) > 1)
        checked = checks.latest(("n", "p"))
        assert checked is not None
        assert [each.outcome for each in checked.results] == [outcome]
        assert message in checked.results[0].message
        checks.follow(("n", "p"), None)
        assert checks.latest(("n", "p")) is None
        await stop(running)


async def test_only_the_servers_that_the_operator_runs_get_its_token() -> None:
    async def own(namespace: str, model: str) -> str | None:
        return OWN_ADDRESS

    asked: list[bytes] = []
    empty = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
    async with answering(empty, asked=asked, port=PORT) as url:
        checks = ModelChecks(own, lambda _: None, token="a-token-of-ours")
        running = asyncio.create_task(checks.run())
        for address, sent in ((None, True), (url, False)):
            asked.clear()
            ask = Ask("n", "m", address, {"drift": {}}, interval=3600, timeout=5)
            checks.follow(("n", str(address)), ask, last=NOW)
            await eventually(lambda: asked)
            assert (b"authorization: bearer a-token-of-ours" in asked[0].lower()) is sent
        await stop(running)


async def nowhere(namespace: str, model: str) -> str | None:
    return None


async def test_pods_that_cannot_be_listed_are_an_error_too() -> None:
    async def refused(namespace: str, model: str) -> str | None:
        raise ApiError(403, "Forbidden", "pods is forbidden")

    notified: list[tuple[str, str]] = []
    checks = ModelChecks(refused, notified.append)
    running = asyncio.create_task(checks.run())
    checks.follow(("n", "p"), Ask("n", "m", None, {"drift": {}}, interval=0.01, timeout=1), last=NOW)
    await eventually(lambda: notified)
    checked = checks.latest(("n", "p"))
    assert checked is not None
    assert [each.outcome for each in checked.results] == ["error"]
    assert "pods is forbidden" in checked.results[0].message
    await stop(running)


async def test_a_model_that_nobody_serves_is_an_error_too() -> None:
    notified: list[tuple[str, str]] = []
    checks = ModelChecks(nowhere, notified.append)
    running = asyncio.create_task(checks.run())
    checks.follow(("n", "p"), Ask("n", "m", None, {"drift": {}}, interval=0.01, timeout=1), last=NOW)
    await eventually(lambda: notified)
    checked = checks.latest(("n", "p"))
    assert checked is not None
    assert "no version of the model in Production is served" in checked.results[0].message
    await stop(running)


async def test_a_new_value_of_the_annotation_is_a_check_at_once() -> None:
    notified: list[tuple[str, str]] = []
    checks = ModelChecks(nowhere, notified.append)
    running = asyncio.create_task(checks.run())
    ask = Ask("n", "m", None, {"drift": {}}, interval=3600, timeout=1)
    checks.follow(("n", "p"), ask, last=datetime.now(UTC))
    for value in ("2004-01-07", "2004-01-14"):
        checks.follow(("n", "p"), replace(ask, request=value))
        assert checks.latest(("n", "p")) is None
        await eventually(lambda: checks.latest(("n", "p")))
        checked = checks.latest(("n", "p"))
        assert checked is not None
        assert checked.request == value
    assert len(notified) == 2
    await stop(running)


def test_the_value_that_was_asked_for_is_told_with_what_was_decided() -> None:
    asking = policy(annotations={CHECK_ANNOTATION: "one"}, **WATCHING)
    ask = ask_of(asking)
    assert ask is not None
    assert ask.request == "one"
    assert last_asked(asking, ask) is None
    breach = (result("drift", "ok"), result("performance", "breached", 0.4, window_start=ENDED))
    decided = planned(asking, monitors=breach, checked_at=NOW, checked_for="one")
    assert decided.actions
    quiet = planned(asking, monitors=breach[:1], checked_at=NOW, checked_for="one")
    assert quiet.status.last_check_request == "one"
    after = policy(annotations={CHECK_ANNOTATION: "one"}, status=quiet.status.to_wire(), **WATCHING)
    # A restarted operator has answered this value, and waits for the interval or for another one.
    assert last_asked(after, ask) == NOW.replace(microsecond=0)
    assert planned(after).status.last_check_request == "one"
    again = policy(annotations={CHECK_ANNOTATION: "two"}, status=quiet.status.to_wire(), **WATCHING)
    assert last_asked(again, ask_of(again)) is None


async def stop(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
