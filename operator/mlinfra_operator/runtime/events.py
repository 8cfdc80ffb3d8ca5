"""Posts Events; the same Event on the same object is counted, not posted again."""

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx

from mlinfra.kube import ApiError, KubernetesClient
from mlinfra.kube.resource import EVENTS
from mlinfra.resources.names import FIELD_MANAGER
from mlinfra_operator.conditions import Event, timestamp

REMEMBERED = 4096
MAX_MESSAGE_LENGTH = 1024
"""Of an Event, by the API."""
MAX_REASON_LENGTH = 128
CONFLICT, NOT_FOUND = 409, 404

logger = logging.getLogger(__name__)


class EventPoster:
    """Posts Events on objects. An Event that cannot be posted is logged: it must not hold up work."""

    def __init__(
        self, client: KubernetesClient, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._client = client
        self._clock = clock
        self._counts: OrderedDict[str, int] = OrderedDict()

    async def post(self, obj: dict[str, Any], event: Event) -> None:
        """Post an Event on an object of ours."""
        name = event_name(obj, event)
        count = self._counts.get(name, 0) + 1
        try:
            if count == 1:
                count = await self._create(obj, event, name)
            else:
                count = await self._count(obj, event, name, count)
        except (ApiError, httpx.HTTPError) as error:
            logger.warning("event %s on %s: %s", event.reason, obj["metadata"]["name"], error)
            return
        self._counts[name] = count
        self._counts.move_to_end(name)
        if len(self._counts) > REMEMBERED:
            self._counts.popitem(last=False)

    async def _create(self, obj: dict[str, Any], event: Event, name: str) -> int:
        """Post it as new; its count then."""
        body = event_manifest(obj, event, name=name, now=self._clock())
        try:
            await self._client.create(EVENTS, body, obj["metadata"]["namespace"])
        except ApiError as error:
            if error.status != CONFLICT:
                raise
            # Posted before this process started: the answer to an empty patch tells how often.
            known = await self._client.merge_patch(EVENTS, name, {}, obj["metadata"]["namespace"])
            return await self._count(obj, event, name, int(known.get("count") or 1) + 1)
        return 1

    async def _count(self, obj: dict[str, Any], event: Event, name: str, count: int) -> int:
        """Tell that it happened again; its count then."""
        patch = {"count": count, "lastTimestamp": timestamp(self._clock())}
        try:
            await self._client.merge_patch(EVENTS, name, patch, obj["metadata"]["namespace"])
        except ApiError as error:
            if error.status != NOT_FOUND:
                raise
            # It has outlived its time to live.
            return await self._create(obj, event, name)
        return count


def event_name(obj: dict[str, Any], event: Event) -> str:
    """The name of an Event: the same for the same Event on the same object."""
    told = "\0".join((obj["metadata"]["uid"], event.type, event.reason, event.message))
    return f"{obj['metadata']['name']}.{hashlib.sha256(told.encode()).hexdigest()[:16]}"


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
