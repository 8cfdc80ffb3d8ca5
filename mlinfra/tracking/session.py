"""The writing side of an active run: its background writer, and the files behind it."""

import time
from pathlib import Path

from mlinfra.tracking.backlog import Backlog
from mlinfra.tracking.spool import Spool
from mlinfra.tracking.writer import BackgroundWriter, Pace, Send


class RunSession:
    """The writer of one run, and what it keeps in files."""

    def __init__(self, send: Send, spool: Spool | None, pace: Pace | None) -> None:
        self._spool = spool
        self._backlog = Backlog(spool)
        self.writer = BackgroundWriter(send, backlog=self._backlog, pace=pace)

    def leave(self, status: str | None) -> Path | None:
        """Keep what is not written for a replay; the folder where it is kept."""
        if status is not None:
            self._backlog.end(status, time.time_ns() // 1_000_000)
        if self._spool is None:
            return None
        self._spool.leave()
        return self._spool.folder

    def remove(self) -> None:
        """Everything is written."""
        if self._spool is not None:
            self._spool.remove()
