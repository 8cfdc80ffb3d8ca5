"""Blocking calls off the event loop: a few threads, and a limit to the time that anyone waits."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class BoundedThreads:
    """Runs blocking functions in at most ``size`` threads.

    Args:
        size: number of threads.
        timeout: seconds that a caller waits. A call that takes longer goes on in its thread, so the
            functions must end by themselves.
    """

    def __init__(self, size: int, *, timeout: float) -> None:
        self._executor = ThreadPoolExecutor(size, thread_name_prefix="mlflow")
        self._timeout = timeout

    async def run(
        self, function: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Result:
        """The function's result.

        Raises:
            TimeoutError: it took too long.
        """
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._timeout):
            return await loop.run_in_executor(self._executor, lambda: function(*args, **kwargs))

    def shutdown(self) -> None:
        """Start no further calls; those that run go on."""
        self._executor.shutdown(wait=False, cancel_futures=True)
