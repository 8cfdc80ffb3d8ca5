"""When a watch was last heard of: what tells a quiet watch from a dead one."""

import time
from collections.abc import Callable


class Pulse:
    """Signs of life of one watch, on a monotonic clock in seconds.

    The server's own words count as heard. An error that somebody tells (a refused connection, an HTTP
    status) is a sign that the watch still tries, but nothing was heard. Silence is neither.

    Attributes:
        heard_at: when the server last said anything; None until it has.
        sign_at: when there was any sign; that it is made counts as one, and that the watch begins.
        trouble: the error told since the server was last heard.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.heard_at: float | None = None
        self.sign_at = clock()
        self.trouble: str | None = None

    def begins(self) -> None:
        """The watch begins: what it is waited for until then is no silence."""
        self.sign_at = self._clock()

    def heard(self) -> None:
        """The server said something."""
        self.heard_at = self.sign_at = self._clock()
        self.trouble = None

    def told(self, trouble: str) -> None:
        """Somebody answered, and it was an error."""
        self.sign_at = self._clock()
        self.trouble = trouble
