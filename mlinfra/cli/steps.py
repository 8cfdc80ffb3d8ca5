"""Steps of a long command: what happens now, how long each took, and which one failed."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console


class Steps:
    """Prints a line for each step; calls give context managers, as `mlinfra.local.cluster.Step` wants."""

    def __init__(self, console: Console) -> None:
        self._console = console

    @contextmanager
    def __call__(self, title: str) -> Iterator[Callable[[str], None]]:
        started = time.monotonic()
        status = self._console.status(title) if self._console.is_terminal else None

        def tell(text: str) -> None:
            if status:
                status.update(f"{title}: {text}")
            else:
                self._console.print(f"    {text}", markup=False, highlight=False, soft_wrap=True)

        try:
            if status:
                status.start()
            yield tell
        except BaseException:
            self._finish(status, "[red]✗[/]", title, started)
            raise
        self._finish(status, "[green]✓[/]", title, started)

    def _finish(self, status: object, mark: str, title: str, started: float) -> None:
        stop = getattr(status, "stop", None)
        if stop:
            stop()
        seconds = time.monotonic() - started
        self._console.print(f"{mark} {title}  [dim]{seconds:.1f} s[/]", highlight=False, soft_wrap=True)
