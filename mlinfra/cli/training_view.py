"""What a local training shows: a live bar while it runs, or plain lines, and a table of what came out."""

from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table

from mlinfra.training.measure_format import measure_text, measure_title

if TYPE_CHECKING:
    from mlinfra.training.local import LocalTraining
    from mlinfra.training.progress import Progress
    from mlinfra.training.trainer import Epoch

SHOWN = ("balanced_accuracy", "f1", "roc_auc", "rmse", "r2")
ENDINGS = {
    "evaluate": "testing",
    "export": "exporting to ONNX",
    "log model": "logging the model",
}


class TrainingView:
    """Shows the epochs of one training; use it as a context manager."""

    def __init__(self, console: Console, *, title: str, epochs: int) -> None:
        self._console = console
        self._best: Epoch | None = None
        self._epoch = 0
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("epoch"),
            MofNCompleteColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[detail]}"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bars.add_task(title, total=epochs, detail="reading features")

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def show(self, epoch: "Epoch", progress: "Progress") -> None:
        """Show an epoch."""
        self._epoch = epoch.number
        if self._best is None or epoch.val_loss < self._best.val_loss:
            self._best = epoch
        name, text = primary_of(epoch)
        detail = (
            f"validation {name} {text} (best {primary_of(self._best)[1]})"
            f" · {progress.remaining_seconds:.0f} s left"
        )
        if self._console.is_terminal:
            self._bars.update(self._task, completed=epoch.number, detail=detail)
        else:
            self._console.print(
                f"epoch {epoch.number}/{progress.epochs}  {progress.percent}%  loss {epoch.train_loss:.4f}"
                f"  {detail}",
                highlight=False,
                soft_wrap=True,
            )

    def show_step(self, name: str) -> None:
        """Show that a step begins; once the epochs are over the bar is full."""
        if name in ENDINGS:
            self._bars.update(self._task, total=self._epoch, detail=ENDINGS[name])


def primary_of(epoch: "Epoch") -> tuple[str, str]:
    """Title and value of the validation measure that comes first."""
    key, value = next(iter(epoch.val_metrics.items()))
    name = key.removeprefix("val_")
    return measure_title(name), measure_text(name, value)


def result_table(training: "LocalTraining", *, min_accuracy: float) -> Table:
    """The result: how good, on which dates, and what became of it."""
    result = training.result
    evaluation = result.evaluation
    best = result.fit.best
    table = Table(show_header=False, title=training.model_name, title_justify="left", min_width=60)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    name = evaluation.primary.name
    table.add_row(f"test {measure_title(name)}", measure_text(name, evaluation.score))
    verdict = "beaten" if evaluation.beats_baseline else "not beaten"
    table.add_row("baseline", f"{measure_text(name, evaluation.baseline_score)} ({verdict})")
    others = [other for other in SHOWN if other in evaluation.measures]
    table.add_row(
        ", ".join(map(measure_title, others)),
        ", ".join(measure_text(other, evaluation.measures[other]) for other in others),
    )
    for part, period in result.periods.items():
        table.add_row(f"{part} dates", period.replace("/", " to "))
    table.add_row("epochs", f"{len(result.fit.epochs)}, the best {best.number}")
    table.add_row("run", training.run_id)
    if training.version is not None:
        table.add_row("version", training.version)
        table.add_row("stage", stage_told(training, min_accuracy=min_accuracy))
    if training.onnx_path is not None:
        difference = result.metrics["onnx_max_abs_difference"]
        table.add_row("ONNX", f"{training.onnx_path} (differs by {difference:.0e} at most)")
    return table


def stage_told(training: "LocalTraining", *, min_accuracy: float) -> str:
    """The stage, and why it is not Production where the accuracy is why."""
    accuracy = training.result.evaluation.measures.get("accuracy")
    if accuracy is None:
        return training.stage
    if training.stage == "None" and accuracy < min_accuracy:
        return f"None: test accuracy {accuracy:.1%} is below {min_accuracy:.1%}"
    return training.stage


def where_to_look(tracking_uri: str) -> str:
    """How to see the run."""
    if tracking_uri.startswith(("http://", "https://")):
        return f"Look at it: {tracking_uri}"
    return f"Look at it: mlflow ui --backend-store-uri {tracking_uri} --port 5000"
