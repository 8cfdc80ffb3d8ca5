"""One leader among the operator's replicas, by a Lease: only it works, the others keep their caches warm."""

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx

from mlinfra.kube import ApiError, KubernetesClient
from mlinfra.kube.resource import LEASES
from mlinfra.resources.names import FIELD_MANAGER
from mlinfra_operator.runtime.lease import (
    LeaseRecord,
    LeaseTimes,
    Sighting,
    decide,
    look_again,
    record_of,
    sighted,
)

CONFLICT = 409

logger = logging.getLogger(__name__)


class LeaseLostError(Exception):
    """The lease could not be renewed in time: another replica may work by now."""


class LeaderElection:
    """Takes a Lease, holds it, and gives it back.

    Args:
        client: client of the cluster.
        namespace, name: of the Lease.
        identity: who we are; a replica that comes back under the same identity goes on at once.
        times: how long the lease lives, and how often it is renewed.
        clock: a monotonic clock in seconds.
    """

    def __init__(
        self,
        client: KubernetesClient,
        *,
        namespace: str,
        name: str,
        identity: str,
        times: LeaseTimes | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._times = times or LeaseTimes()
        self._clock = clock
        self._sighting: Sighting | None = None
        self._version: str | None = None
        self._renewed = clock()

    async def acquire(self) -> None:
        """Wait until the lease is ours."""
        told: str | None = None
        while not await self._attempt(within=self._times.renew_deadline):
            holder = self._sighting.record.holder if self._sighting else None
            if holder != told:
                logger.info("standby: %s holds the lease %s/%s", holder, self._namespace, self._name)
                told = holder
            await asyncio.sleep(look_again(self._sighting, self._times, self._clock()))
        logger.info("%s leads: lease %s/%s", self._identity, self._namespace, self._name)

    async def hold(self) -> None:
        """Renew the lease until cancelled.

        Raises:
            LeaseLostError: it could not be renewed in time, or another replica has it.
        """
        while True:
            await asyncio.sleep(min(self._times.retry, max(0.0, self._left())))
            # Not beyond what is left: another replica may take over then.
            if not self.is_overdue and await self._attempt(within=self._left()):
                continue
            if self.is_overdue or self._is_anothers():
                raise LeaseLostError(
                    f"{self._identity} lost the lease {self._namespace}/{self._name}: it was not renewed "
                    f"within {self._times.renew_deadline:g} s, or another replica took it"
                )

    async def renew(self) -> None:
        """Once more where it is ours: it lives for its whole duration then, though nobody holds it."""
        if self._sighting is None or self._is_anothers() or self.is_overdue:
            return
        await self._attempt(within=min(self._times.retry, self._left()))

    async def release(self) -> None:
        """Give the lease back, so that another replica need not wait for it to expire."""
        if self._sighting is None or self._is_anothers():
            return
        try:
            await self._client.merge_patch(
                LEASES,
                self._name,
                # As we wrote it last: one that another replica has taken since stays its own.
                {
                    "metadata": {"resourceVersion": self._version},
                    "spec": {"holderIdentity": None, "leaseDurationSeconds": 1},
                },
                self._namespace,
                field_manager=FIELD_MANAGER,
            )
        except (ApiError, httpx.HTTPError) as error:
            logger.warning("the lease is not given back, and expires: %s", error)

    @property
    def is_overdue(self) -> bool:
        """Whether the lease may be another's: it was not renewed in time."""
        return self._left() <= 0

    def _left(self) -> float:
        """Seconds until we must have renewed, or stop."""
        return self._renewed + self._times.renew_deadline - self._clock()

    def _is_anothers(self) -> bool:
        return self._sighting is not None and self._sighting.record.holder != self._identity

    async def _attempt(self, *, within: float) -> bool:
        """Take or renew the lease within so many seconds; whether it is ours now."""
        try:
            async with asyncio.timeout(within):
                lease = await self._client.find(LEASES, self._name, self._namespace)
                if lease is not None:
                    self._sighting = sighted(record_of(lease), self._sighting, self._clock())
                decision = decide(self._sighting if lease else None, self._identity, self._clock())
                if decision == "wait":
                    return False
                asked = self._clock()
                written = await self._write(lease)
        except (ApiError, httpx.HTTPError, TimeoutError) as error:
            if not (isinstance(error, ApiError) and error.status == CONFLICT):
                logger.warning("lease %s/%s: %s", self._namespace, self._name, error or type(error).__name__)
            return False
        self._sighting = Sighting(record_of(written), self._clock())
        self._version = written["metadata"]["resourceVersion"]
        # The lease lives from when the API server wrote it, which may be long before its answer.
        self._renewed = asked
        return True

    async def _write(self, lease: dict[str, Any] | None) -> dict[str, Any]:
        before = record_of(lease) if lease else LeaseRecord(None, None, 0)
        now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
        spec: dict[str, Any] = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": int(self._times.duration),
            "renewTime": now,
        }
        if before.holder != self._identity:
            spec |= {"acquireTime": now, "leaseTransitions": before.transitions + (lease is not None)}
        metadata: dict[str, Any] = {"name": self._name, "namespace": self._namespace}
        if lease is None:
            body = {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata, "spec": spec}
            return await self._client.create(LEASES, body, self._namespace, field_manager=FIELD_MANAGER)
        # Of two replicas that find it expired, the API server lets one have it.
        metadata["resourceVersion"] = lease["metadata"]["resourceVersion"]
        return await self._client.merge_patch(
            LEASES,
            self._name,
            {"metadata": metadata, "spec": spec},
            self._namespace,
            field_manager=FIELD_MANAGER,
        )
