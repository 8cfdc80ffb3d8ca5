"""How commands run: interrupts end them in order, expected errors are one message."""

import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from mlinfra.errors import InvalidInputError, MlinfraError

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")

EXIT_ERROR = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130


def run(command: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine; SIGTERM and a closed terminal end it as Ctrl-C does."""
    import asyncio

    async def main() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.ensure_future(command)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, task.cancel)
        return await task

    try:
        return asyncio.run(main())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def interrupt() -> None:
    """End what runs at once, in order."""
    raise KeyboardInterrupt


@contextmanager
def interruptible(console: "Console", stop: Callable[[], None]) -> Iterator[None]:
    """Let the first Ctrl-C or SIGTERM ``stop`` the block in order, and a second one the process at once."""

    def on_signal(number: int, _frame: object) -> None:
        # Not a handler of our own: one that is written in Python waits for a library that does not return.
        signal.signal(number, signal.SIG_DFL)
        console.show_cursor()
        console.print("Stopping in order; once more ends it at once.", highlight=False)
        stop()

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def expected_errors() -> Iterator[None]:
    """Print an expected error as one message, then exit: 2 after bad input, 1 after any other.

    Other errors keep their traceback.
    """
    try:
        yield
    except MlinfraError as error:
        typer.secho(f"Error: {error}", fg="red", err=True)
        raise typer.Exit(EXIT_BAD_INPUT if isinstance(error, InvalidInputError) else EXIT_ERROR) from error
    except KeyboardInterrupt:
        typer.secho("Interrupted; what this command had started is stopped.", err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from None
