"""All benchmarks, each in a process of its own: ``python -m benchmarks [NAME ...] [--small]``.

The exit code is 1 where one of them misses what is promised.
"""

import pkgutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

HELPERS = ("__main__", "side_by_side", "rivals", "rival_scripts")


def names() -> list[str]:
    """The benchmarks there are: every module here that is not a helper of theirs."""
    found = (module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]))
    return sorted(name for name in found if name not in HELPERS)


def main(
    name: Annotated[list[str] | None, typer.Argument(help="Which to run; all where absent.")] = None,
    small: Annotated[bool, typer.Option(help="On little data: whether they run, not how fast.")] = False,
) -> None:
    """Measure on this machine; leave it alone meanwhile."""
    known = names()
    for unknown in [each for each in name or () if each not in known]:
        raise typer.BadParameter(f"there is no benchmark {unknown}; there are: {', '.join(known)}")
    console = Console()
    missed = []
    for each in name or known:
        console.rule(each)
        argv = [sys.executable, "-m", f"benchmarks.{each}", *(["--small"] if small else [])]
        if subprocess.run(argv, check=False).returncode != 0:
            missed.append(each)
    if missed:
        console.print(f"Missed or failed: {', '.join(missed)}", style="bold red")
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
