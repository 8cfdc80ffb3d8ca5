"""A wish to stop, from a signal handler or another thread, that the training loop follows after its batch."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Interruption:
    """Whether a training shall stop.

    Outside the training loop there is no batch to finish: `request` then calls ``outside`` at once.
    """

    def __init__(self, outside: Callable[[], None] = lambda: None) -> None:
        self._outside = outside
        # No lock: a signal handler may set it while the same thread reads it.
        self.requested = False
        self._deferred = False

    def request(self) -> None:
        """Ask the training to stop after its batch."""
        self.requested = True
        if not self._deferred:
            self._outside()

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Within the block a request waits until the loop looks at `requested`, or until the block ends."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False
        if self.requested:
            self._outside()
