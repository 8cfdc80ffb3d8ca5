"""Asking the API server until it answers."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import httpx

from mlinfra.kube import ApiError

RETRY_SECONDS = 2.0

Result = TypeVar("Result")

logger = logging.getLogger(__name__)


async def persistently(ask: Callable[[], Awaitable[Result]]) -> Result:
    """The answer, asked for as often as it takes."""
    while True:
        try:
            return await ask()
        except (ApiError, httpx.HTTPError) as error:
            logger.warning("the API server: %s; again in %.0f s", error, RETRY_SECONDS)
            await asyncio.sleep(RETRY_SECONDS)
