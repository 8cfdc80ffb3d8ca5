"""``mlinfra watch``: the three resources as they change."""

import errno
import os
import stat
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlinfra.cli.options import Namespace
from mlinfra.cli.output import console, table_of
from mlinfra.cli.running import expected_errors, run

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

    from mlinfra.cli.watch_rows import Shown
    from mlinfra.kube import KubernetesClient
    from mlinfra.kube.informer import ChangeType, Informer

AGES_SECONDS = 1.0
"""So long a table without a change stays before its ages are drawn anew."""
REDRAW_SECONDS = 0.2
"""At least between two drawings, however many changes there are."""


def watch(
    namespace: Namespace = None,
    all_namespaces: Annotated[
        bool, typer.Option("--all-namespaces", "-A", help="Of all namespaces.", show_default=False)
    ] = False,
) -> None:
    """Show policies, trainings and versions as they change, until Ctrl-C; in a pipe one line a change."""
    from mlinfra.cli.access import asked

    async def show(client: "KubernetesClient", where: str) -> None:
        await _watch(client, None if all_namespaces else where)

    with expected_errors():
        try:
            run(asked(show, namespace))
        except KeyboardInterrupt:
            raise typer.Exit from None


async def _watch(client: "KubernetesClient", namespace: str | None) -> None:
    import asyncio

    from mlinfra.cli.access import listed
    from mlinfra.cli.watch_rows import Shown
    from mlinfra.kube.informer import running
    from mlinfra.kube.resource import MODEL_VERSIONS, RETRAINING_POLICIES, TRAINING_JOBS

    shown = Shown(with_namespace=namespace is None)
    lines: asyncio.Queue[str | None] = asyncio.Queue()
    watched = (RETRAINING_POLICIES, TRAINING_JOBS, MODEL_VERSIONS)
    for resource in watched:
        # An informer would ask again for ever where the answer is a refusal.
        await listed(client, resource, namespace)
    informers = [_informer(client, resource, namespace, shown, lines.put_nowait) for resource in watched]
    async with running(*informers):
        await (_draw(shown, lines) if console().is_terminal else _print(lines))


def _informer(
    client: "KubernetesClient",
    resource: Any,
    namespace: str | None,
    shown: "Shown",
    tell: "Callable[[str], None]",
) -> "Informer":
    from mlinfra.cli.object_summary import utc_now
    from mlinfra.cli.watch_rows import row_of
    from mlinfra.kube.informer import Informer

    def on_change(change: "ChangeType", obj: dict[str, Any]) -> None:
        line = shown.change(row_of(resource.kind, obj), deleted=change == "DELETED", now=utc_now())
        if line is not None:
            tell(line)

    return Informer(client, resource, namespace=namespace, on_change=on_change)


async def _print(lines: "asyncio.Queue[str | None]") -> None:
    """Print each line.

    Raises:
        BrokenPipeError: nobody reads what is printed any more; known at once, not with the next line.
    """
    with _told_of_closing(lambda: lines.put_nowait(None)):
        while (line := await lines.get()) is not None:
            typer.echo(line)
    raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


@contextmanager
def _told_of_closing(tell: "Callable[[], None]") -> "Iterator[None]":
    """Tell once where standard output is a pipe whose other end is closed."""
    import asyncio

    output, loop = sys.stdout.fileno(), asyncio.get_running_loop()
    if not stat.S_ISFIFO(os.fstat(output).st_mode):
        yield
        return

    def closed() -> None:
        loop.remove_reader(output)
        tell()

    # The end that is written to has nothing to read, but is said to have once the other end is closed.
    loop.add_reader(output, closed)
    try:
        yield
    finally:
        loop.remove_reader(output)


async def _draw(shown: "Shown", lines: "asyncio.Queue[str | None]") -> None:
    """Draw the table whenever there are lines, which it takes the place of."""
    import asyncio

    from rich.live import Live

    from mlinfra.cli.object_summary import utc_now
    from mlinfra.cli.watch_rows import HEADINGS

    with Live(console=console(), auto_refresh=False) as live:
        while True:
            while not lines.empty():
                lines.get_nowait()
            live.update(table_of(HEADINGS, shown.table(utc_now())), refresh=True)
            await asyncio.sleep(REDRAW_SECONDS)
            with suppress(TimeoutError):
                await asyncio.wait_for(lines.get(), AGES_SECONDS)
