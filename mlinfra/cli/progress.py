"""Progress of a training on the terminal: a live bar, or plain lines where nobody watches."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import Progress as Bars

from mlinfra.cli.follow import Progress


class ProgressDisplay:
    """Shows the progress of one TrainingJob; use it as a context manager."""

    def __init__(self, console: Console, title: str) -> None:
        self._console = console
        self._shown: Progress | None = None
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("epoch"),
            MofNCompleteColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[detail]}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bars.add_task(title, total=None, detail="")

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def show(self, progress: Progress) -> None:
        """Show the newest progress; what did not change is not printed again."""
        if progress == self._shown:
            return
        self._shown = progress
        if self._console.is_terminal:
            self._bars.update(
                self._task, completed=progress.epoch, total=progress.epochs, detail=detail_of(progress)
            )
        else:
            self._console.print(
                f"  {progress.phase}  epoch {progress.epoch}/{progress.epochs}  {progress.percent}%"
                f"  {detail_of(progress)}".rstrip()
            )


def detail_of(progress: Progress) -> str:
    """What stands behind the bar: phase or accuracy, time left, what is waited for."""
    parts = [progress.phase] if progress.epoch == 0 or progress.phase != "Running" else []
    if progress.accuracy is not None:
        parts.append(f"validation accuracy {float(progress.accuracy):.1%}")
    if progress.remaining_seconds is not None and progress.phase == "Running":
        parts.append(f"{progress.remaining_seconds} s left")
    if progress.waiting_for and progress.phase == "Pending":
        parts.append(progress.waiting_for)
    return " · ".join(parts)
