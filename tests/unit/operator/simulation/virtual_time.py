"""An event loop on which hours pass at once: its clock jumps to when something is due."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class _Selector(selectors.DefaultSelector):  # type: ignore[misc, valid-type]  # which one depends on the system
    """Never waits: the time it would have waited has passed."""

    passed = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        assert timeout is not None, "everybody waits for ever"
        self.passed += max(0.0, timeout)
        found: list[Any] = super().select(0)
        return found


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Its time begins at 0 s, and takes none of ours."""

    def __init__(self) -> None:
        self._clock = _Selector()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.passed


def run_at_once(main: Coroutine[Any, Any, Result]) -> Result:
    """What a coroutine returns, run on a loop of virtual time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)
