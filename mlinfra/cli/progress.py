"""Progress of a training on the terminal: a live bar, or plain lines where nobody watches."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn
from rich.progress import Progress as Bars
from rich.text import Text

from mlinfra.cli.follow import Progress

BAR_WIDTH = 20


class EpochBar:
    """A bar that fills with the epochs; use it as a context manager.

    Where the console is no terminal it stays silent and `line` prints, so that a log has a line an epoch.
    """

    def __init__(
        self, console: Console, title: str, *, epochs: int | None = None, transient: bool = False
    ) -> None:
        self._console = console
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=BAR_WIDTH),
            MofNCompleteColumn(),
            TextColumn("{task.fields[detail]}"),
            _TimeColumn(),
            console=console,
            transient=transient,
            disable=not console.is_terminal,
        )
        self._task = self._bars.add_task(title, total=epochs, detail="", ends_at=None)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def show(
        self, epoch: int, epochs: int, *, detail: str, remaining_seconds: float | None, line: str
    ) -> None:
        """Show how far it is: in the bar, or as ``line``."""
        ends_at = None if remaining_seconds is None else time.monotonic() + remaining_seconds
        self._bars.update(self._task, completed=epoch, total=epochs, detail=detail, ends_at=ends_at)
        self.line(line)

    def tell(self, detail: str, *, full: bool = False) -> None:
        """Show what happens now; with ``full`` the epochs are over."""
        task = self._bars.tasks[0]
        self._bars.update(
            self._task, total=task.completed if full else task.total, detail=detail, ends_at=None
        )

    def line(self, text: str) -> None:
        """Print a line where there is no bar."""
        if not self._console.is_terminal:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)


class _TimeColumn(ProgressColumn):
    """The time left where it is known, else the time so far; it goes on between two epochs."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        """Minutes and seconds."""
        ends_at = task.fields["ends_at"]
        if ends_at is None:
            return Text(clock(task.elapsed or 0.0), style="progress.elapsed")
        return Text(f"{clock(max(0.0, ends_at - time.monotonic()))} left", style="progress.remaining")


def clock(seconds: float) -> str:
    """``1:02:03`` or ``2:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class ProgressDisplay:
    """Shows the progress of one TrainingJob; use it as a context manager."""

    def __init__(self, console: Console, title: str) -> None:
        self._shown: Progress | None = None
        self._bar = EpochBar(console, title, transient=True)

    def __enter__(self) -> Self:
        self._bar.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.__exit__(kind, error, trace)

    def show(self, progress: Progress) -> None:
        """Show the newest progress; what did not change is not printed again."""
        if progress == self._shown:
            return
        self._shown = progress
        running = progress.phase == "Running"
        detail = detail_of(progress)
        self._bar.show(
            progress.epoch,
            progress.epochs,
            detail=detail,
            remaining_seconds=progress.remaining_seconds if running else None,
            line=f"  {progress.phase}  epoch {progress.epoch}/{progress.epochs}  {progress.percent}%"
            f"  {detail}".rstrip(),
        )


def detail_of(progress: Progress) -> str:
    """What stands behind the bar: phase or accuracy, what is waited for."""
    parts = [progress.phase] if progress.epoch == 0 or progress.phase != "Running" else []
    if progress.accuracy is not None:
        parts.append(f"validation accuracy {float(progress.accuracy):.1%}")
    if progress.waiting_for and progress.phase in ("Queued", "Pending"):
        parts.append(progress.waiting_for)
    return " · ".join(parts)
