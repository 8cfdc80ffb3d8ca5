"""What a live replay shows as it goes: a line for each training and rollback, and how far it is."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from mlinfra.cli.steps import Steps
from mlinfra.retraining.live.manifests import LiveSettings
from mlinfra.retraining.live.replay import Progress, RolledBack
from mlinfra.retraining.live.story import Retraining

COLUMNS = (
    ("DATE", 10),
    ("TRIGGER", 11),
    ("DRIFT", 7),
    ("PERFORMANCE", 11),
    ("OLD", 6),
    ("NEW", 6),
    ("VERSION", 7),
    ("PROMOTED", 8),
    ("TOOK", 6),
)


class DriftTable:
    """Prints to a console.

    Args:
        console: where to.
        settings: what is replayed.
    """

    def __init__(self, console: Console, settings: LiveSettings) -> None:
        self.steps = Steps(console)
        self._console, self._settings = console, settings
        self._status = console.status("") if console.is_terminal else None
        self._began = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """While the replay goes on."""
        self._line(" ".join(name.ljust(width) for name, width in (*COLUMNS, ("WHY", 0))))
        self._began = time.monotonic()
        if self._status:
            self._status.start()
        try:
            yield
        finally:
            if self._status:
                self._status.stop()

    def retraining(self, found: Retraining) -> None:
        """A training has come to its end."""
        cells = (
            f"{found.time:%Y-%m-%d}",
            found.trigger,
            _number(found.drift),
            _number(found.performance),
            _number(found.old),
            _number(found.new),
            found.version or "",
            "yes" if found.promoted else "no",
            f"{found.seconds:.0f} s",
        )
        why = found.message if found.promoted else f"{found.reason} ({found.message})"
        self._cells(cells, why)

    def rollback(self, found: RolledBack) -> None:
        """A version was taken back."""
        cells = (f"{found.time:%Y-%m-%d}", "rollback", "", "", "", "", found.version, "back", "")
        self._cells(cells, found.message)

    def progress(self, found: Progress) -> None:
        """How far the replay is."""
        if self._status:
            seconds = max(0.1, time.monotonic() - self._began - found.held)
            days = (found.now - self._settings.start).days
            self._status.update(f"{found.now:%Y-%m-%d}: {60 * days / seconds:,.0f} days a minute")

    def _cells(self, cells: tuple[str, ...], why: str) -> None:
        padded = (cell.ljust(width) for cell, (_, width) in zip(cells, COLUMNS, strict=True))
        self._line(" ".join((*padded, why)))

    def _line(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
