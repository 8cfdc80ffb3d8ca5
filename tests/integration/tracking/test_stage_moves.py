"""However several clients move versions, at most one is in Production, and alias, stage and tag agree."""

import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient

from mlinfra.resources.promotion import Stage
from mlinfra.tracking import get_mlflow_tracker
from mlinfra.tracking.contract import STAGE_ALIASES, STAGE_TAG
from mlinfra.tracking.errors import TrackingRefusedError
from mlinfra.tracking.stages import effective_stage, move_to_stage, production_version
from mlinfra.tracking.tracker import MlflowTracker

VERSIONS = ["1", "2", "3"]
STAGES: tuple[Stage, ...] = get_args(Stage)
PATIENCE = 30.0
ONE_CALL = threading.Lock()
"""MLflow's requests are transactions; in between anything may happen."""
moves = st.tuples(st.sampled_from(VERSIONS), st.sampled_from(STAGES))
real_store = settings(
    max_examples=12,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Crash(Exception):
    """The client died."""


class Watched:
    """A client of which every call is seen before it is made."""

    def __init__(self, client: MlflowClient, before: Any) -> None:
        self._client = client
        self._before = before

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._client, name)

        def watched(*args: Any, **kwargs: Any) -> Any:
            self._before(name)
            with ONE_CALL:
                return call(*args, **kwargs)

        return watched

    # MLflow's stages are moved by the class's undecorated method.
    def transition_model_version_stage(self, *args: Any) -> None:
        self._before("transition")
        with ONE_CALL:
            self._client._get_registry_client().transition_model_version_stage(
                *args, archive_existing_versions=False
            )


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> MlflowClient:
    uri = f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"
    return MlflowClient(uri, uri)


@pytest.fixture(scope="module")
def names() -> Iterator[str]:
    return (f"model-{number}" for number in range(10_000))


def new_model(client: MlflowClient, name: str) -> str:
    client.create_registered_model(name)
    for _ in VERSIONS:
        client.create_model_version(name, source="file:///nowhere")
    return name


def in_production(client: MlflowClient, name: str) -> list[str]:
    versions = [client.get_model_version(name, number) for number in VERSIONS]
    return [
        str(each.version)
        for each in versions
        if effective_stage(each.aliases, each.current_stage) == "Production"
    ]


def assert_at_rest(client: MlflowClient, name: str) -> None:
    for number in VERSIONS:
        version = client.get_model_version(name, number)
        assert version.tags.get(STAGE_TAG, "None") == version.current_stage
        assert ("production" in version.aliases) == (version.current_stage == "Production")
        if "staging" in version.aliases:
            assert version.current_stage == "Staging"
    held = in_production(client, name)
    assert len(held) <= 1
    assert production_version(client, name) == (held[0] if held else None)


@real_store
@given(sequence=st.lists(moves, min_size=1, max_size=6))
def test_moves_one_after_another(client: MlflowClient, names: Iterator[str], sequence: list[Any]) -> None:
    name = new_model(client, next(names))
    expected: dict[str, Stage] = dict.fromkeys(VERSIONS, "None")
    for version, stage in sequence:
        move_to_stage(client, name, version, stage)
        if stage == "Production":
            expected |= {each: "Archived" for each, held in expected.items() if held == "Production"}
        expected[version] = stage
        assert_at_rest(client, name)
        assert {
            number: client.get_model_version(name, number).current_stage for number in VERSIONS
        } == expected


@real_store
@given(first=st.sampled_from(VERSIONS), taken=st.sampled_from(VERSIONS), calls=st.integers(0, 25))
def test_a_client_that_dies_leaves_one_in_production_and_the_next_move_puts_it_right(
    client: MlflowClient, names: Iterator[str], first: str, taken: str, calls: int
) -> None:
    name = new_model(client, next(names))
    move_to_stage(client, name, first, "Production")
    made = 0

    def die(_name: str) -> None:
        nonlocal made
        assert len(in_production(client, name)) == 1
        if made == calls:
            raise Crash
        made += 1

    with suppress(Crash):
        move_to_stage(Watched(client, die), name, taken, "Production")  # type: ignore[arg-type]
    assert len(in_production(client, name)) == 1
    other = next(each for each in VERSIONS if each not in (first, taken))
    move_to_stage(client, name, other, "Staging")
    assert len(in_production(client, name)) == 1
    move_to_stage(client, name, taken, "Production")
    assert in_production(client, name) == [taken]
    assert_at_rest(client, name)


@real_store
@given(
    versions=st.lists(st.sampled_from(VERSIONS), min_size=2, max_size=2, unique=True),
    turns=st.lists(st.integers(0, 1), max_size=60),
)
def test_two_clients_at_once_agree_in_the_end(
    client: MlflowClient, names: Iterator[str], versions: list[str], turns: list[int]
) -> None:
    name = new_model(client, next(names))
    schedule, running = iter(turns), {0, 1}
    changed = threading.Condition()
    turn = next(schedule, 0)
    problems: list[BaseException] = []

    def client_of(number: int) -> None:
        def wait(_name: str) -> None:
            nonlocal turn
            with changed:
                assert changed.wait_for(lambda: turn == number or len(running) == 1, PATIENCE)
                turn = next(schedule, 1 - turn)
                changed.notify_all()

        try:
            move_to_stage(Watched(client, wait), name, versions[number], "Production")  # type: ignore[arg-type]
        except BaseException as error:
            problems.append(error)
        finally:
            with changed:
                running.discard(number)
                changed.notify_all()

    threads = [threading.Thread(target=client_of, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert problems == []
    assert_at_rest(client, name)
    assert in_production(client, name) in ([versions[0]], [versions[1]])


def test_the_trackers_call_takes_any_case_and_names_what_is_not_there(
    client: MlflowClient, names: Iterator[str], tmp_path: Path
) -> None:
    tracker: MlflowTracker = get_mlflow_tracker(client.tracking_uri)
    name = new_model(client, next(names))
    tracker.transition_model_stage(name, 1, "pRoDuCtIoN")
    tracker.transition_model_stage(name, "2", "staging")
    assert production_version(client, name) == "1"
    assert client.get_model_version(name, "2").aliases == [STAGE_ALIASES["Staging"]]
    tracker.transition_model_stage(name, "1", "archived")
    assert production_version(client, name) is None
    for stage in ("Production", "Archived"):
        with pytest.raises(TrackingRefusedError, match=r"version=9|9"):
            tracker.transition_model_stage(name, 9, stage)
        with pytest.raises(TrackingRefusedError, match="nobody"):
            tracker.transition_model_stage("nobody", 1, stage)
    with pytest.raises(TrackingRefusedError, match="no stage"):
        tracker.transition_model_stage(name, 1, "Live")
    assert_at_rest(client, name)
