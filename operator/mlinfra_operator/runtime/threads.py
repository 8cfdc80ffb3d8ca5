"""Blocking calls off the event loop: a few threads, and a limit to the time that anyone waits."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

logger = logging.getLogger(__name__)


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
        self._running: set[Future[Any]] = set()

    async def run(
        self, function: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Result:
        """The function's result.

        Raises:
            TimeoutError: it took too long.
        """
        call = self._executor.submit(function, *args, **kwargs)
        self._running.add(call)
        call.add_done_callback(self._running.discard)
        async with asyncio.timeout(self._timeout):
            return await asyncio.wrap_future(call)

    async def shutdown(self, patience: float) -> bool:
        """Start no further calls, and wait for those that run.

        Args:
            patience: how many seconds to wait.

        Returns:
            Whether none runs any more.
        """
        self._executor.shutdown(wait=False, cancel_futures=True)
        if self._running:
            logger.info("%d calls that run are waited for", len(self._running))
        left = await asyncio.to_thread(wait, list(self._running), patience)
        return not left.not_done
