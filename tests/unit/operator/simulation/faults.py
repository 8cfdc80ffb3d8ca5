"""What befalls the requests of an operator under test."""

from collections.abc import Callable
from typing import Any


class Killed(BaseException):
    """The operator dies at this request."""


class Faults:
    """What befalls the operator's next requests."""

    def __init__(self) -> None:
        self.countdown: int | None = None
        self.after: bool = False
        self.error: Callable[[], BaseException] | None = None
        self.writes = 0

    def request(self, act: Callable[[], Any], lost: Callable[[], BaseException], *, write: bool) -> Any:
        strikes = self.countdown == 0
        if self.countdown is not None:
            self.countdown -= 1
        error = (self.error or lost)() if strikes else None
        if error is not None and not self.after:
            raise error
        result = act()
        self.writes += write
        if error is not None:
            raise error
        return result

    def clear(self) -> None:
        self.countdown = self.error = None
