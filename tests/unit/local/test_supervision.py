"""What ends by itself is started again: at once, then ever later, and not for ever."""

import asyncio
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlinfra.errors import MlinfraError
from mlinfra.local import supervision
from mlinfra.local.supervision import (
    FORGIVEN_SECONDS,
    LONGEST_DELAY_SECONDS,
    MOST_IN_A_ROW,
    Ends,
    SupervisionError,
    kept_running,
)


def test_the_first_end_waits_for_nothing_and_each_further_one_twice_as_long() -> None:
    ends = Ends()
    assert [ends.delay(10.0 * number) for number in range(8)] == [0, 1, 2, 4, 8, 16, 30, 30]


@given(st.lists(st.floats(0, 3 * FORGIVEN_SECONDS), min_size=1, max_size=30))
def test_no_delay_is_longer_than_the_longest_and_a_quiet_time_forgives(gaps: list[float]) -> None:
    ends, now = Ends(), 0.0
    for gap in gaps:
        now += gap
        delay = ends.delay(now)
        assert 0 <= delay <= LONGEST_DELAY_SECONDS
        if gap > FORGIVEN_SECONDS:
            assert delay == 0


@dataclass
class Components:
    """Some that end, as often as they are told to."""

    dying: dict[str, int] = field(default_factory=dict)
    starts: int = 0
    problem: MlinfraError | None = None
    meanwhile: tuple[str, ...] = ()
    alive: asyncio.Event = field(default_factory=asyncio.Event)

    def ended(self) -> list[str]:
        ended = [name for name, left in self.dying.items() if left > 0]
        if not ended:
            self.alive.set()
        return ended

    async def start_again(self) -> list[str]:
        self.starts += 1
        started = [*self.ended(), *self.meanwhile]
        self.dying = {name: left - 1 for name, left in self.dying.items()}
        if self.problem is not None:
            raise self.problem
        return started


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOOK_SECONDS", "FIRST_DELAY_SECONDS"):
        monkeypatch.setattr(supervision, name, 0.0)


@pytest.mark.usefixtures("at_once")
async def test_what_ended_is_started_again_and_told() -> None:
    components, said = Components({"mlflow": 1, "operator": 2}), list[str]()
    async with kept_running(components, said.append):
        await components.alive.wait()
    assert said == [
        "mlflow ended by itself and is started again",
        "operator ended by itself and is started again",
        "operator ended by itself and is started again",
    ]
    assert components.starts == 2


@pytest.mark.usefixtures("at_once")
async def test_what_ended_while_another_was_started_is_told_as_well() -> None:
    components, said = Components({"mlflow": 1}, meanwhile=("operator",)), list[str]()
    async with kept_running(components, said.append):
        await components.alive.wait()
    assert said[1] == "operator ended by itself meanwhile and was started again"


@pytest.mark.usefixtures("at_once")
async def test_what_cannot_be_started_is_told_and_tried_again() -> None:
    components = Components({"mlflow": 2}, problem=MlinfraError("mlflow was not ready within 120 s"))
    said: list[str] = []
    async with kept_running(components, said.append):
        await components.alive.wait()
    assert said[1] == "mlflow was not ready within 120 s"
    assert components.starts == 2


@pytest.mark.usefixtures("at_once")
async def test_what_ends_for_ever_ends_the_block() -> None:
    components = Components({"operator": 1000})
    with pytest.raises(SupervisionError, match=f"operator ended {MOST_IN_A_ROW + 1} times in a row"):
        async with kept_running(components, lambda _: None):
            await asyncio.Event().wait()
    assert components.starts == MOST_IN_A_ROW


async def test_an_error_of_the_block_is_its_own() -> None:
    with pytest.raises(KeyError, match="mine"):
        async with kept_running(Components(), lambda _: None):
            raise KeyError("mine")
