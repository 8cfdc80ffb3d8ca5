"""Asks what became of served models, beside the work queue: a slow server holds up nobody."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx

from mlinfra.kube import ApiError
from mlinfra.retraining.prometheus_check import check_prometheus
from mlinfra.retraining.server_check import check_server, failures_of
from mlinfra.retraining.triggers import MonitorResult
from mlinfra_operator.retrainingpolicy.checks import NO_SERVER, Ask, Checked
from mlinfra_operator.runtime.cache import Key
from mlinfra_operator.serving.builder import PORT

CONCURRENT = 16

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Followed:
    ask: Ask
    wait: float
    task: "asyncio.Task[None] | None" = None
    checked: Checked | None = None


class ModelChecks:
    """Makes each policy's check again and again, and keeps the newest results.

    Args:
        address_of: where a model's version in Production is asked, by namespace and model; None where none is
            served.
        notify: called with the policy whose results are new.
        token: bearer token for the pods that ``address_of`` finds. Another address, which whoever writes a
            policy chooses, never gets it.
    """

    def __init__(
        self,
        address_of: Callable[[str, str], Awaitable[str | None]],
        notify: Callable[[Key], None],
        *,
        token: str | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._address_of = address_of
        self._notify = notify
        self._token = token
        self._clock = clock
        self._followed: dict[Key, _Followed] = {}
        self._group: asyncio.TaskGroup | None = None
        self._slots = asyncio.Semaphore(CONCURRENT)

    def latest(self, key: Key) -> Checked | None:
        """The newest results of a policy; None before the first."""
        followed = self._followed.get(key)
        return followed.checked if followed is not None else None

    def follow(self, key: Key, ask: Ask | None, *, last: datetime | None = None) -> None:
        """Make a policy's check from now on, or no longer where ``ask`` is None.

        Args:
            key: the policy.
            ask: what to ask.
            last: when it was last asked, by whom ever: the next check waits for the interval.
        """
        before = self._followed.get(key)
        if before is not None and before.ask == ask:
            return
        if before is not None:
            del self._followed[key]
            if before.task is not None:
                before.task.cancel()
        if ask is None:
            return
        passed = (
            (self._clock() - last).total_seconds() if last is not None and before is None else ask.interval
        )
        followed = _Followed(ask, max(0.0, ask.interval - passed))
        self._followed[key] = followed
        self._start(key, followed)

    async def run(self) -> None:
        """Check until cancelled."""
        # A connection that is kept stays with the pods of the version before when the Service turns.
        limits = httpx.Limits(max_keepalive_connections=0)
        async with (
            asyncio.TaskGroup() as group,
            httpx.AsyncClient(trust_env=False, limits=limits) as client,
        ):
            self._client = client
            self._group = group
            for key, followed in self._followed.items():
                self._start(key, followed)
            await asyncio.Event().wait()

    def _start(self, key: Key, followed: _Followed) -> None:
        if self._group is not None:
            followed.task = self._group.create_task(self._keep_asking(key, followed))

    async def _keep_asking(self, key: Key, followed: _Followed) -> None:
        await asyncio.sleep(followed.wait)
        while True:
            async with self._slots:
                followed.checked = await self._check(followed.ask)
            self._notify(key)
            await asyncio.sleep(followed.ask.interval)

    async def _check(self, ask: Ask) -> Checked:
        now = self._clock()
        return Checked(now, await self._results(ask, now), ask.request)

    async def _results(self, ask: Ask, now: datetime) -> tuple[MonitorResult, ...]:
        if ask.prometheus is not None:
            return await check_prometheus(self._client, ask.prometheus, timeout=ask.timeout, now=now)
        try:
            url = ask.url or await self._url_of(ask)
        except (ApiError, httpx.TransportError) as error:
            problem = f"the pods of the version in Production cannot be listed: {error}"
            return failures_of(ask.body, problem, now=now)
        if url is None:
            return failures_of(ask.body, NO_SERVER, now=now)
        token = self._token if ask.url is None else None
        return await check_server(
            self._client, url, ask.model, ask.body, timeout=ask.timeout, now=now, token=token
        )

    async def _url_of(self, ask: Ask) -> str | None:
        address = await self._address_of(ask.namespace, ask.model)
        return f"http://{address}:{PORT}" if address is not None else None
