"""What a local training shows: a live bar while it runs, or plain lines, and a table of what came out."""

import re
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich import box
from rich.console import Console, Group
from rich.table import Table

from mlinfra.cli.progress import EpochBar
from mlinfra.training.measure_format import measure_text, measure_title

if TYPE_CHECKING:
    from mlinfra.training.champion import ChampionScore
    from mlinfra.training.epochs import Epoch
    from mlinfra.training.local import LocalTraining
    from mlinfra.training.progress import Progress

BEGINNINGS = {
    "connect": "opening MLflow",
    "features": "reading features",
    "start": "starting the run",
    "prepare": "preparing samples",
    "train": "first epoch",
}
ENDINGS = {
    "evaluate": "testing",
    "export": "exporting to ONNX",
    "report": "writing the report",
    "log model": "logging the model",
    "register": "registering the version",
}
TEST_PREFIX = "test_"
FOLDS_PREFIX = "walk_forward_"
RIVAL = re.compile(r"^(?!fold_\d|walk_forward_)(\w+)_test_")
"""Of the metrics of baselines and champion on the same rows."""


class TrainingView:
    """Shows the epochs of one training; use it as a context manager."""

    def __init__(self, console: Console, *, epochs: int) -> None:
        self._bar = EpochBar(console, "epoch", epochs=epochs)

    def __enter__(self) -> Self:
        self._bar.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.__exit__(kind, error, trace)

    def show(self, epoch: "Epoch", progress: "Progress") -> None:
        """Show an epoch."""
        detail = epoch_detail(epoch, progress)
        self._bar.show(
            progress.epoch,
            progress.epochs,
            detail=detail,
            remaining_seconds=progress.remaining_seconds,
            line=f"epoch {progress.epoch}/{progress.epochs}  {progress.percent}%  loss {epoch.train_loss:.4f}"
            f"  {detail} · {progress.remaining_seconds:.0f} s left",
        )

    def show_step(self, name: str) -> None:
        """Show that a step begins; once the epochs are over the bar is full."""
        if name in ENDINGS:
            self._bar.tell(ENDINGS[name], full=True)
        else:
            self._bar.tell(BEGINNINGS.get(name, name))


def epoch_detail(epoch: "Epoch", progress: "Progress") -> str:
    """The first validation measure, the best value of it so far, and the speed."""
    key, value = next(iter(epoch.val_metrics.items()))
    name = key.removeprefix("val_")
    parts = [f"{measure_title(name)} {measure_text(name, value)}"]
    if progress.best is not None:
        parts[0] += f", best {measure_text(name, progress.best)}"
    if progress.samples_per_second is not None:
        parts.append(f"{progress.samples_per_second:,.0f} samples/s")
    return " · ".join(parts)


def result_tables(training: "LocalTraining") -> Group:
    """The result: how good, beside baseline and champion, on which dates, and what became of it."""
    facts = Table(show_header=False, box=box.SIMPLE, padding=(0, 1))
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in facts_of(training):
        facts.add_row(name, value)
    return Group(measures_table(training.result.metrics), facts)


def measures_table(metrics: Mapping[str, float]) -> Table:
    """A row for each measure on the test rows; a column for the model, for each rival, and for all folds."""
    rivals = list(dict.fromkeys(match.group(1) for key in metrics if (match := RIVAL.match(key))))
    walked = any(key.startswith(FOLDS_PREFIX) for key in metrics)
    table = Table(box=box.SIMPLE, padding=(0, 1))
    table.add_column("on the test rows", style="bold", no_wrap=True)
    for column in ("model", *rivals, *(["all folds"] if walked else [])):
        table.add_column(column.replace("_", " "), justify="right", no_wrap=True)
    for key in metrics:
        if key.startswith(TEST_PREFIX):
            name = key.removeprefix(TEST_PREFIX)
            theirs = [_text(name, metrics.get(f"{rival}_{key}")) for rival in rivals]
            if walked:
                mean = metrics.get(f"{FOLDS_PREFIX}{key}_mean")
                deviation = metrics.get(f"{FOLDS_PREFIX}{key}_std", 0.0)
                # Two digits of a deviation tell all that it knows.
                spread = measure_text(name, float(f"{deviation:.2g}"))
                theirs.append("" if mean is None else f"{measure_text(name, mean)} ± {spread}")
            table.add_row(measure_title(name), measure_text(name, metrics[key]), *theirs)
    return table


def _text(name: str, value: float | None) -> str:
    return "" if value is None else measure_text(name, value)


def facts_of(training: "LocalTraining") -> Iterator[tuple[str, str]]:
    """What else there is to tell of a training, by name."""
    result = training.result
    if result.champion is not None:
        yield "in Production", champion_told(result.champion)
    for part, period in result.periods.items():
        yield f"{part} dates", period.replace("/", " to ")
    early = ", stopped early" if result.fit.stopped_early else ""
    yield "epochs", f"{len(result.fit.epochs)}, the best {result.fit.best.number}{early}"
    yield "run", training.run_id
    if training.version is not None:
        yield "version", f"{training.version} of {training.model_name}"
        yield "stage", f"{training.stage}: {training.promotion_reason}"
    if training.onnx_path is not None:
        difference = result.metrics["onnx_max_abs_difference"]
        yield "ONNX", f"{training.onnx_path} (differs by {difference:.0e} at most)"
    if training.int8_path is not None:
        yield "ONNX int8", str(training.int8_path)
    yield "report", str(training.report_path)
    yield "seconds", " · ".join(f"{name} {value:.1f}" for name, value in training.seconds.items())


def champion_told(champion: "ChampionScore") -> str:
    """The version in Production, and why it has no measures where it has none."""
    problem = f", not compared: {champion.problem}" if champion.problem else ", the champion"
    return f"version {champion.version}{problem}"


def where_to_look(tracking_uri: str) -> str:
    """How to see the run."""
    if tracking_uri.startswith(("http://", "https://")):
        return f"Look at it: {tracking_uri}"
    return f"Look at it: mlflow ui --backend-store-uri {tracking_uri} --port 5000"
