"""Posts Events; the same Event on the same object is counted, not posted again."""

import asyncio
import hashlib
import logging
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

from mlinfra.kube import ApiError, KubernetesClient
from mlinfra.kube.resource import EVENTS
from mlinfra.resources.names import FIELD_MANAGER
from mlinfra_operator.conditions import Event, timestamp

REMEMBERED = 4096
MOST_WAITING = 20_000
"""Events; those of 5,000 TrainingJobs that start at once have room."""
AWAY_SECONDS = 2.0
"""Between attempts while the API server does not answer."""
MOST_ATTEMPTS = 30
HELD_SECONDS, HELD_POLL_SECONDS = 30.0, 0.25
"""So long Events wait for work that comes before them, and how often that is looked at."""
LAST_SECONDS = 2.0
"""So long an operator that ends goes on posting what waits."""
MAX_MESSAGE_LENGTH = 1024
"""Of an Event, by the API."""
MAX_REASON_LENGTH = 128
MAX_NAME_LENGTH = 253
CONFLICT, NOT_FOUND, FIRST_SERVER_ERROR = 409, 404, 500

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """An Event with what it is about, and when that happened."""

    subject: dict[str, Any]
    event: Event
    happened: datetime


class EventPoster:
    """Posts Events on objects, one after the other: they are read by people, and must not hold up work.

    While the API server does not answer, they wait for a minute; an Event that cannot be posted is logged.

    Args:
        client: client of the cluster.
        held: whether there is work that comes before Events; they wait for it for half a minute at most.
        clock: the time of now.
    """

    def __init__(
        self,
        client: KubernetesClient,
        *,
        held: Callable[[], bool] = lambda: False,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client = client
        self._held = held
        self._clock = clock
        self._counts: OrderedDict[str, int] = OrderedDict()
        self._waiting: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._attempts = 0
        """At the first of those that wait."""

    def post(self, obj: dict[str, Any], event: Event) -> None:
        """Post an Event on an object of ours, soon."""
        if len(self._waiting) >= MOST_WAITING:
            name = obj["metadata"]["name"]
            logger.warning("event %s on %s: not posted, %d wait already", event.reason, name, MOST_WAITING)
            return
        self._waiting.append(_Waiting(_identity(obj), event, self._clock()))
        self._wake.set()

    async def run(self) -> None:
        """Post until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                if self._is_held(self._waiting[0]):
                    await asyncio.sleep(HELD_POLL_SECONDS)
                else:
                    await self._post_first()

    async def aclose(self) -> None:
        """Post what waits, for a short while at most."""
        try:
            async with asyncio.timeout(LAST_SECONDS):
                await self.post_waiting()
        except TimeoutError:
            logger.warning("%d events are not posted: the operator ends", len(self._waiting))

    async def post_waiting(self) -> None:
        """Post until none waits."""
        while self._waiting:
            await self._post_first()

    def _is_held(self, waiting: _Waiting) -> bool:
        waited = (self._clock() - waiting.happened).total_seconds()
        return 0 <= waited < HELD_SECONDS and self._held()

    async def _post_first(self) -> None:
        """Post the first of those that wait; it stays the first while the API server is away."""
        if await self._is_done(self._waiting[0]):
            self._waiting.popleft()
            self._attempts = 0
        else:
            await asyncio.sleep(AWAY_SECONDS)

    async def _is_done(self, waiting: _Waiting) -> bool:
        """Whether an Event is posted, or given up."""
        self._attempts += 1
        reason, name = waiting.event.reason, waiting.subject["metadata"]["name"]
        try:
            await self._post(waiting)
        except (ApiError, httpx.HTTPError) as error:
            away = isinstance(error, httpx.HTTPError) or error.status >= FIRST_SERVER_ERROR
            if away and self._attempts < MOST_ATTEMPTS:
                return False
            logger.warning("event %s on %s: %s", reason, name, error)
        except Exception:
            # One Event, whatever is wrong with it, must not end the operator.
            logger.exception("event %s on %s", reason, name)
        return True

    async def _post(self, waiting: _Waiting) -> None:
        subject, event = waiting.subject, waiting.event
        name = event_name(subject, event)
        count = self._counts.get(name, 0) + 1
        if count == 1:
            count = await self._create(waiting, name)
        else:
            count = await self._count(waiting, name, count)
        self._counts[name] = count
        self._counts.move_to_end(name)
        if len(self._counts) > REMEMBERED:
            self._counts.popitem(last=False)

    async def _create(self, waiting: _Waiting, name: str) -> int:
        """Post it as new; its count then."""
        namespace = waiting.subject["metadata"]["namespace"]
        body = event_manifest(waiting.subject, waiting.event, name=name, now=waiting.happened)
        try:
            await self._client.create(EVENTS, body, namespace)
        except ApiError as error:
            if error.status != CONFLICT:
                raise
            # Posted before this process started: the answer to an empty patch tells how often.
            known = await self._client.merge_patch(EVENTS, name, {}, namespace)
            return await self._count(waiting, name, int(known.get("count") or 1) + 1)
        return 1

    async def _count(self, waiting: _Waiting, name: str, count: int) -> int:
        """Tell that it happened again; its count then."""
        patch = {"count": count, "lastTimestamp": timestamp(waiting.happened)}
        try:
            await self._client.merge_patch(EVENTS, name, patch, waiting.subject["metadata"]["namespace"])
        except ApiError as error:
            if error.status != NOT_FOUND:
                raise
            # It has outlived its time to live.
            return await self._create(waiting, name)
        return count


def _identity(obj: dict[str, Any]) -> dict[str, Any]:
    metadata = obj["metadata"]
    return {
        "apiVersion": obj["apiVersion"],
        "kind": obj["kind"],
        "metadata": {name: metadata[name] for name in ("namespace", "name", "uid")},
    }


def event_name(obj: dict[str, Any], event: Event) -> str:
    """The name of an Event: the same for the same Event on the same object."""
    told = "\0".join((obj["metadata"]["uid"], event.type, event.reason, event.message))
    digest = hashlib.sha256(told.encode()).hexdigest()[:16]
    # The UID in the digest tells objects apart whose names begin alike.
    return f"{obj['metadata']['name'][: MAX_NAME_LENGTH - len(digest) - 1].rstrip('-.')}.{digest}"


def event_manifest(obj: dict[str, Any], event: Event, *, name: str, now: datetime) -> dict[str, Any]:
    """A core/v1 Event."""
    metadata = obj["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": metadata["namespace"]},
        "involvedObject": {
            "apiVersion": obj["apiVersion"],
            "kind": obj["kind"],
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
        },
        "type": event.type,
        "reason": event.reason[:MAX_REASON_LENGTH],
        "message": event.message[:MAX_MESSAGE_LENGTH],
        "source": {"component": FIELD_MANAGER},
        "reportingComponent": FIELD_MANAGER,
        "firstTimestamp": timestamp(now),
        "lastTimestamp": timestamp(now),
        "count": 1,
    }
