"""Checks of feature groups wait for one another, not for ever, and no request waits for them."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from servers.model_server import linear_model

from mlinfra.resources.monitoring import DriftPolicy
from mlinfra.resources.monitoring_sources import FeatureGroupSource
from mlinfra.serving.errors import QueueFullError, UnsupportedError
from mlinfra.serving.group_monitors import MAX_WAITING, GroupCheck, GroupMonitors
from mlinfra.serving.model_source import ModelSource
from mlinfra.serving.served_model import ServedModel
from mlinfra.serving.settings import ServingSettings

SECONDS = 30


@pytest.fixture
def go() -> threading.Event:
    """The thread of the checks is busy until then."""
    return threading.Event()


@pytest.fixture
def monitors(go: threading.Event) -> Iterator[GroupMonitors]:
    thread = ThreadPoolExecutor(1)
    thread.submit(go.wait)
    yield GroupMonitors(ServingSettings(model="m"), thread)
    go.set()
    thread.shutdown()


@pytest.fixture
def model(tmp_path: Path) -> ServedModel:
    return ServedModel(ModelSource(str(linear_model(tmp_path / "m.onnx"))).fetch())


def check(name: str) -> GroupCheck:
    return GroupCheck(FeatureGroupSource(name=name), DriftPolicy(), None)


def test_a_question_that_is_waited_for_is_not_asked_twice(
    monitors: GroupMonitors, model: ServedModel, go: threading.Event
) -> None:
    first = monitors.ask(model, check("a"))
    assert monitors.ask(model, check("a")) is first
    assert monitors.ask(model, check("b")) is not first
    go.set()
    with pytest.raises(UnsupportedError, match="version 1 is not watched: it has no reference profile"):
        first.result(SECONDS)
    assert monitors.ask(model, check("a")) is not first


def test_only_so_many_checks_wait(monitors: GroupMonitors, model: ServedModel) -> None:
    for number in range(MAX_WAITING):
        monitors.ask(model, check(f"g{number}"))
    with pytest.raises(QueueFullError, match="wait already"):
        monitors.ask(model, check("more"))


def test_a_server_that_ends_waits_for_no_check(monitors: GroupMonitors, model: ServedModel) -> None:
    waiting = monitors.ask(model, check("a"))
    monitors.close()
    assert waiting.cancelled()
