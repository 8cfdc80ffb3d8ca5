"""A replay against a server and a policy that only remember: order, waiting, and what is sent again."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest

from mlinfra.features import FeatureStore
from mlinfra.retraining.live.known_rows import KnownRows
from mlinfra.retraining.live.manifests import LiveSettings
from mlinfra.retraining.live.replay import MOST_CHECKS, Checked, LiveReplay, Replayed
from mlinfra.retraining.live.story import Retraining
from mlinfra.retraining.live.traffic import LiveTraffic, Questions, ReplayError

DAY = timedelta(days=1)
START = datetime(2004, 1, 1, tzinfo=UTC)
ROWS = 12
SETTINGS = LiveSettings(
    model="m",
    group="g",
    start=START,
    until=START + ROWS * DAY,
    label_delay=2 * DAY,
    check_rows=3,
    patience=5.0,
)
TIMES = [START + (number + 1) * DAY for number in range(ROWS)]
QUESTIONS = Questions(
    windows=np.arange(ROWS, dtype=np.float32).reshape(ROWS, 1, 1),
    times=TIMES,
    labels=[number % 2 for number in range(ROWS)],
    prefix="m",
)


@dataclass
class Server:
    """Answers as a model server does; it can lose predictions, and fail."""

    version: str = "1"
    known: dict[str, Any] = field(default_factory=dict)
    labels: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    fails: Callable[["Server"], bool] = lambda _: False

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.fails(self):
            raise httpx.ConnectError("connection refused", request=request)
        body = json.loads(request.content)
        if request.url.path.endswith("/infer"):
            self.asked.append(body["id"])
            self.known.setdefault(body["id"], body["parameters"]["event_timestamp"])
            data = body["inputs"][0]["data"]
            return httpx.Response(200, json={"model_version": self.version, "outputs": [{"data": data}]})
        unknown = [each["id"] for each in body if each["id"] not in self.known]
        for each in body:
            if each["id"] in self.known:
                self.labels[each["id"]] = each["label"]
        told = {"accepted": len(body) - len(unknown), "repeated": [], "conflicting": [], "unknown": unknown}
        return httpx.Response(404 if len(unknown) == len(body) else 200, json=told)


@dataclass
class Policy:
    """Says what it was told to say, and changes the version that answers."""

    server: Server
    store: FeatureStore
    says: dict[str, Checked] = field(default_factory=dict)
    checks: list[tuple[str, int, int, int]] = field(default_factory=list)
    before_check: Callable[[], None] = lambda: None

    async def check(self, value: str) -> Checked:
        self.before_check()
        group = self.store.read_offline_features("g", columns=[])
        self.checks.append((value, len(self.server.known), len(self.server.labels), len(group)))
        return self.says.pop(value, Checked())

    async def settled(self, job: str, time: datetime) -> Retraining:
        asked = len(self.server.asked)
        while len(self.server.asked) < asked + 3:
            await asyncio.sleep(0)
        self.server.version = "2"
        return Retraining(time, job, "performance", "", None, None, None, None, "2", True, "", 0.0)

    async def production(self, *, other_than: str | None) -> str:
        assert other_than == "2"
        self.server.version = "1"
        return "1"


@dataclass
class World:
    server: Server
    policy: Policy
    run: Callable[[], Awaitable[tuple[Replayed, LiveTraffic]]]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr("mlinfra.retraining.live.replay.PROBE_SECONDS", 0.0)
    monkeypatch.setattr("mlinfra.retraining.live.replay.CHECK_AGAIN_SECONDS", 0.0)
    monkeypatch.setattr("mlinfra.retraining.live.traffic.RETRY_SECONDS", 0.0)
    times = [START - 3 * DAY, START - DAY, *TIMES]
    frame = pd.DataFrame({"event_timestamp": times, "entity": "a", "x": np.arange(len(times)), "up": 1})
    server, store = Server(), FeatureStore(tmp_path)
    policy = Policy(server, store)
    known = KnownRows(store, "g", frame, time="event_timestamp", entity="entity", delay=SETTINGS.label_delay)
    known.reach(START)

    async def run() -> tuple[Replayed, LiveTraffic]:
        async with httpx.AsyncClient(transport=httpx.MockTransport(server)) as http:
            traffic = LiveTraffic(http, "http://m/v2/models/m", "x", QUESTIONS, patience=SETTINGS.patience)
            replayed = await LiveReplay(SETTINGS, TIMES, traffic, known, policy).run()
            return replayed, traffic

    return World(server, policy, run)


async def test_rows_labels_and_known_rows_are_there_when_the_monitors_are_asked(world: World) -> None:
    replayed, traffic = await world.run()
    assert world.policy.checks == [
        ("2004-01-04.0", 3, 1, 3),
        ("2004-01-07.0", 6, 4, 6),
        ("2004-01-10.0", 9, 7, 9),
        ("2004-01-13.0", 12, 10, 12),
        ("2004-01-15.0", 12, 12, 14),
    ]
    assert world.server.asked == [f"m-{number}" for number in range(ROWS)]
    assert world.server.known["m-3"] == TIMES[3].isoformat()
    assert [answer.outputs.tolist() for answer in traffic.answers.values()] == [[n] for n in range(ROWS)]
    assert (replayed.retrainings, replayed.rollbacks, traffic.failures) == ((), (), [])
    assert traffic.told == set(range(ROWS))


async def test_the_clock_stands_still_until_the_new_version_answers(world: World) -> None:
    world.policy.says["2004-01-07.0"] = Checked(job="train-1")
    replayed, traffic = await world.run()
    assert [each.job for each in replayed.retrainings] == ["train-1"]
    assert [traffic.answers[row].version for row in range(ROWS)] == ["1"] * 6 + ["2"] * 6
    # Meanwhile the newest row was asked about again, under its own ID.
    assert world.server.asked.count("m-5") >= 4
    assert len(world.server.known) == ROWS


async def test_after_a_rollback_the_version_before_answers(world: World) -> None:
    world.policy.says["2004-01-04.0"] = Checked(job="train-1")
    world.policy.says["2004-01-10.0"] = Checked(rolled_back="worse than before", taken_back="2")
    replayed, traffic = await world.run()
    assert [(each.version, each.message) for each in replayed.rollbacks] == [("1", "worse than before")]
    assert [traffic.answers[row].version for row in range(ROWS)] == ["1"] * 3 + ["2"] * 6 + ["1"] * 3


async def test_what_a_killed_server_lost_is_sent_again_before_the_check(world: World) -> None:
    fails = iter([False] * 5 + [True])

    def killed(server: Server) -> bool:
        if next(fails, False):
            # The predictions of before the last check are logged, the others are lost.
            server.known = {one: at for one, at in server.known.items() if int(one[2:]) < 3}
            return True
        return False

    world.server.fails = killed
    _, traffic = await world.run()
    assert len(traffic.failures) == 1
    assert traffic.told == set(range(ROWS))
    assert [known for _, known, _, _ in world.policy.checks] == [3, 6, 9, 12, 12]


async def test_a_check_that_fails_is_made_again_after_what_was_lost_is_sent(world: World) -> None:
    world.policy.says["2004-01-07.0"] = Checked(failed="connection refused")
    await world.run()
    assert [value for value, *_ in world.policy.checks][1:3] == ["2004-01-07.0", "2004-01-07.1"]
    assert [world.server.asked.count(f"m-{row}") for row in range(6)] == [1, 1, 1, 2, 2, 2]


async def test_a_server_that_is_away_after_the_last_row_is_waited_for(world: World) -> None:
    """However long: checks alone would be given up."""
    world.policy.says["2004-01-15.0"] = Checked(failed="connection refused")
    left = [0]

    def away(_: Server) -> bool:
        left[0] -= 1
        return left[0] >= 0

    world.server.fails = away
    before_check = world.policy.check

    async def check(value: str) -> Checked:
        checked = await before_check(value)
        if checked.failed is not None:
            left[0] = 2 * MOST_CHECKS
        return checked

    world.policy.check = check  # type: ignore[method-assign]
    _, traffic = await world.run()
    assert [value for value, *_ in world.policy.checks][-2:] == ["2004-01-15.0", "2004-01-15.1"]
    assert len(traffic.failures) == 2 * MOST_CHECKS
    assert world.server.asked.count(f"m-{ROWS - 1}") > 1


async def test_a_lost_prediction_whose_label_comes_is_asked_for_again(world: World) -> None:
    def lose() -> None:
        world.server.known.pop("m-2", None)

    world.policy.before_check = lose
    _, traffic = await world.run()
    assert "the predictions m-2 are not known any more" in traffic.failures[0]
    assert len(world.server.labels) == ROWS


async def test_a_failure_without_words_is_told_by_its_kind(world: World) -> None:
    class Silent(Server):
        def __call__(self, request: httpx.Request) -> httpx.Response:
            if not self.asked:
                self.asked.append("")
                raise httpx.ReadError("", request=request)
            return super().__call__(request)

    world.server.__class__ = Silent
    _, traffic = await world.run()
    assert traffic.failures == ["infer: ReadError"]


async def test_a_server_that_refuses_a_request_ends_the_replay(world: World) -> None:
    class Refusing(Server):
        def __call__(self, request: httpx.Request) -> httpx.Response:
            return httpx.Response(422, text="wrong shape")

    world.server.__class__ = Refusing
    with pytest.raises(ReplayError, match="infer: HTTP 422: wrong shape"):
        await world.run()
