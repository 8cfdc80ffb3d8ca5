"""Asks for JSON over HTTP, within bounds of time and size."""

import asyncio
import json
from typing import Any, ClassVar

import httpx

from mlinfra.errors import MlinfraError

MAX_ANSWER_BYTES = 4 * 1024 * 1024
TOLD_CHARACTERS = 300


class UnansweredError(MlinfraError):
    """Nobody answered, or with an error, or with what cannot be read; the message names whom."""

    reason: ClassVar[str] = "Unanswered"


async def ask_json(
    client: httpx.AsyncClient, method: str, address: str, path: str, *, timeout: float, **request: Any
) -> object:
    """What is answered.

    Args:
        client: to ask with.
        address: whom, such as ``http://model:8080``.
        path: of what is asked, from ``/`` on.
        timeout: seconds for the whole of it.
        method, request: as of `httpx.AsyncClient.stream`.

    Raises:
        UnansweredError: there is no answer in time, or it is an error, too long, or no JSON.
    """
    try:
        # httpx bounds each read, not the whole answer.
        async with (
            asyncio.timeout(timeout),
            client.stream(method, address + path, timeout=timeout, **request) as answer,
        ):
            content = b""
            async for chunk in answer.aiter_bytes():
                content += chunk
                if len(content) > MAX_ANSWER_BYTES:
                    raise UnansweredError(f"{address}: the answer is longer than {MAX_ANSWER_BYTES} bytes")
        if answer.status_code != httpx.codes.OK:
            raise UnansweredError(f"{address}: HTTP {answer.status_code}: {_told(content)}")
        return json.loads(content)
    except TimeoutError as error:
        raise UnansweredError(f"{address} does not answer in {timeout:g} s") from error
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise UnansweredError(f"{address}: {error or type(error).__name__}") from error


def _told(content: bytes) -> str:
    """What an answer says went wrong."""
    text = content.decode(errors="replace")
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    error = found.get("error") if isinstance(found, dict) else None
    return (error if isinstance(error, str) else text)[:TOLD_CHARACTERS]
