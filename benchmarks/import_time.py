"""How long ``import mlinfra`` and ``mlinfra --help`` take, beside an interpreter that does nothing.

Usage: python -m benchmarks.import_time [--rounds N]

Each sample is a fresh process. What is promised is of the best one, which is the least disturbed by
whatever else the machine does. The exit code is 1 where a promise is missed.
"""

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.side_by_side import EXIT_MISSED, Timing, alternate, duration, machine, ratio_told

BARE = "python -c pass"
LIMITS_SECONDS: Mapping[str, float | None] = {BARE: None, "import mlinfra": 0.1, "mlinfra --help": 0.5}


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Processes of each kind.")] = 20,
    small: Annotated[bool, typer.Option(help="Three of each: whether it runs, not how fast.")] = False,
) -> None:
    """Measure the start of the library and of the command line."""
    rounds = 3 if small else rounds
    console = Console()
    timings = alternate(
        {
            BARE: _process(sys.executable, "-c", "pass"),
            "import mlinfra": _process(sys.executable, "-c", "import mlinfra"),
            "mlinfra --help": _process(str(Path(sys.executable).with_name("mlinfra")), "--help"),
        },
        rounds=rounds,
    )
    console.print(_table(timings, rounds))
    console.print(machine(("typer", "rich")), highlight=False, soft_wrap=True)
    if not all(_holds(timing) for timing in timings.values()):
        raise typer.Exit(EXIT_MISSED)


def _process(*argv: str) -> Callable[[], object]:
    def start_and_wait() -> None:
        subprocess.run(argv, stdout=subprocess.DEVNULL, check=True)

    return start_and_wait


def _holds(timing: Timing) -> bool:
    limit = LIMITS_SECONDS[timing.name]
    return limit is None or min(timing.seconds) < limit


def _table(timings: Mapping[str, Timing], rounds: int) -> Table:
    table = Table(title=f"Start of a process, best of {rounds}", title_justify="left")
    table.add_column("process")
    for column in ("best", "median", "against the bare interpreter", "limit of the best", ""):
        table.add_column(column, justify="right")
    bare = min(timings[BARE].seconds)
    for name, limit in LIMITS_SECONDS.items():
        timing = timings[name]
        table.add_row(
            name,
            duration(min(timing.seconds)),
            duration(timing.median),
            "" if name == BARE else ratio_told(min(timing.seconds) / bare),
            "" if limit is None else duration(limit),
            "" if limit is None else "held" if _holds(timing) else "missed",
        )
    return table


if __name__ == "__main__":
    typer.run(main)
