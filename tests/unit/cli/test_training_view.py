"""What a training shows on a terminal, in a log, and at its end."""

import io
from collections.abc import Callable

from rich.console import Console

from mlinfra.cli.progress import EpochBar, clock
from mlinfra.cli.training_view import measures_table


def printed(show: Callable[[Console], None], *, terminal: bool, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None)
    show(console)
    return console.file.getvalue()  # type: ignore[attr-defined]  # the StringIO above


def two_epochs(console: Console) -> None:
    with EpochBar(console, "epoch", epochs=100) as bar:
        bar.tell("opening MLflow")
        for epoch in (1, 2):
            bar.show(
                epoch,
                100,
                detail="accuracy 84.2%, best 88.1% · 14,210 samples/s",
                remaining_seconds=65.0,
                line=f"line {epoch}",
            )


def test_a_log_has_a_line_an_epoch_and_nothing_else() -> None:
    assert printed(two_epochs, terminal=False) == "line 1\nline 2\n"


def test_the_bar_fits_eighty_columns_with_all_it_tells() -> None:
    shown = printed(two_epochs, terminal=True)
    last = next(line for line in reversed(shown.splitlines()) if "2/100" in line)
    assert "accuracy 84.2%, best 88.1% · 14,210 samples/s" in last
    assert "left" in last
    assert "line 1" not in shown


def test_clock() -> None:
    assert [clock(each) for each in (0.4, 65, 3723)] == ["0:00", "1:05", "1:02:03"]


def test_measures_stand_beside_baseline_champion_and_folds() -> None:
    metrics = {
        "val_accuracy": 0.9,
        "test_accuracy": 0.867,
        "test_log_loss": 0.34,
        "baseline_test_accuracy": 0.788,
        "champion_test_accuracy": 0.851,
        "fold_1_test_accuracy": 0.8,
        "walk_forward_test_accuracy_mean": 0.84,
        "walk_forward_test_accuracy_std": 0.02,
    }
    table = printed(lambda console: console.print(measures_table(metrics)), terminal=False)
    rows = [line.split() for line in table.splitlines() if line.strip()]
    assert rows[0] == ["on", "the", "test", "rows", "model", "baseline", "champion", "all", "folds"]
    assert rows[2] == ["accuracy", "86.7%", "78.8%", "85.1%", "84.0%", "±", "2.0%"]
    assert rows[3] == ["log", "loss", "0.34"]
