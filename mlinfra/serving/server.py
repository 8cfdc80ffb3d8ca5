"""The model server: the model that answers, its queue, and how another takes its place."""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from mlinfra.errors import MlinfraError
from mlinfra.serving.batcher import MicroBatcher
from mlinfra.serving.errors import (
    NotReadyError,
    OtherSchemaError,
    UnknownModelError,
    UnusableSwapError,
)
from mlinfra.serving.group_monitors import GroupMonitors
from mlinfra.serving.metrics import ServingMetrics
from mlinfra.serving.model_source import ModelSource
from mlinfra.serving.observations import Key, Observed, Observer
from mlinfra.serving.observing import Observing, observing_of
from mlinfra.serving.served_model import ServedModel, refuse_no_answer
from mlinfra.serving.settings import ServingSettings
from mlinfra.serving.tensors import Array

logger = logging.getLogger(__name__)

ID_BYTES = 16
IDS_AT_ONCE = 256
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Swapped:
    """What a swap did.

    Attributes:
        before, after: versions.
        changed: whether another model answers now.
    """

    before: str
    after: str
    changed: bool


class ModelServer:
    """Serves one model at a time; made inside the event loop.

    Attributes:
        settings: as it was started.
        metrics: what Prometheus is told.
        batcher: the queue.
        group_monitors: checks rows of feature groups.
        draining: whether the process is about to end.
        follow_problem: why the version that the alias means now is not served; None where it is.
    """

    def __init__(self, settings: ServingSettings) -> None:
        self.settings = settings
        self.metrics = ServingMetrics()
        self.batcher = MicroBatcher(
            max_pending=settings.max_pending,
            wait_seconds=settings.batch_wait_seconds,
            on_batch=self.metrics.on_batch,
        )
        self.metrics.follow_depth(lambda: self.batcher.depth)
        self._observing: Observing | None = None
        self.group_monitors = GroupMonitors(settings)
        self.draining = False
        self.follow_problem: str | None = None
        self._source = ModelSource(settings.model, tracking_uri=settings.tracking_uri, name=settings.name)
        self._model: ServedModel | None = None
        self._swapping = asyncio.Lock()

    @property
    def ready(self) -> bool:
        """Whether requests are to come here."""
        return self._model is not None and not self.draining

    @property
    def model(self) -> ServedModel:
        """The model that answers now.

        Raises:
            NotReadyError: none is loaded yet.
        """
        if self._model is None:
            raise NotReadyError("the model is not loaded yet")
        return self._model

    @property
    def observing(self) -> Observing:
        """What observes predictions.

        Raises:
            NotReadyError: no model is loaded yet.
        """
        if self._observing is None:
            raise NotReadyError("the model is not loaded yet")
        return self._observing

    @property
    def observer(self) -> Observer:
        """Takes what was predicted to the log and the monitors; raises `NotReadyError`."""
        return self.observing.observer

    def asked_for(self, path: Mapping[str, str]) -> ServedModel:
        """The model that a route names.

        Raises:
            NotReadyError: none is loaded yet.
            UnknownModelError: another name, or another version, is served.
        """
        model = self.model
        file = model.file
        if path["model"] != file.name:
            raise UnknownModelError(f'this server serves the model "{file.name}", not "{path["model"]}"')
        version = path.get("version")
        if version is not None and version != file.version:
            raise UnknownModelError(
                f'this server serves version {file.version} of "{file.name}", not {version}'
            )
        return model

    async def load(self) -> None:
        """Load and warm the model that the settings name, and answer with it.

        Raises:
            MlinfraError: it cannot be served.
        """
        model = await asyncio.to_thread(self._loaded, self._source, self.settings.digest)
        self._observing = await asyncio.to_thread(
            observing_of, self.settings, model.file.name, self.metrics, lambda: (self._model or model).learnt
        )
        self._serve(model)

    async def swap(self, uri: str, *, digest: str | None = None, other_schema: bool = False) -> Swapped:
        """Load and warm another model beside the one that answers, then let it answer.

        Requests that were taken before are computed by the old one; none fails.

        Args:
            uri: as of the setting ``model``.
            digest: SHA-256 that its file must have.
            other_schema: accept a model that reads or answers other tensors.

        Raises:
            UnusableSwapError: it cannot be served; the old one goes on.
            OtherSchemaError: it reads or answers other tensors; the old one goes on.
        """
        async with self._swapping:
            before = self.model
            source = ModelSource(uri, tracking_uri=self.settings.tracking_uri, name=self.settings.name)
            try:
                after = await asyncio.to_thread(self._loaded, source, digest)
                self._refuse_other(before, after, other_schema=other_schema)
            except MlinfraError as error:
                self.metrics.swaps.labels("refused").inc()
                if isinstance(error, OtherSchemaError):
                    raise
                raise UnusableSwapError(str(error)) from error
            changed = before.file.sha256 != after.file.sha256 or before.file.version != after.file.version
            if changed:
                self._serve(after)
                self.metrics.swaps.labels("done").inc()
            return Swapped(before.file.version, after.file.version, changed)

    async def follow(self) -> None:
        """Serve what the alias means, for ever; returns at once where a fixed version is served.

        A version that cannot be served, or whose file has another digest than the settings ask for, is not:
        the one before goes on, and ``follow_problem`` tells why.
        """
        if self._source.alias is None:
            return
        while True:
            await asyncio.sleep(self.settings.follow_seconds)
            try:
                newest = await asyncio.to_thread(self._source.newest_version)
                if newest != self.model.file.version:
                    await self.swap(self.settings.model, digest=self.settings.digest)
                self.follow_problem = None
            except Exception as error:  # whatever is wrong with the new version, the one before goes on
                problem = str(error) or type(error).__name__
                if problem != self.follow_problem:
                    unexpected = not isinstance(error, MlinfraError)
                    logger.warning(
                        "%s cannot be followed: %s", self.settings.model, problem, exc_info=unexpected
                    )
                self.follow_problem = problem

    async def predict(
        self,
        model: ServedModel,
        inputs: Mapping[str, Array],
        rows: int,
        *,
        id: str | None,
        event_time: datetime | None,
        checksum: Callable[[], int],
        entities: Sequence[Key] | None = None,
    ) -> Observed:
        """What the model answers, checked; it is counted, and left to the log and the monitors.

        Args:
            model: which checked the inputs.
            inputs: array of each tensor that it reads.
            rows: size of their first axis.
            id: what the client calls its request; made up where None.
            event_time: what the predictions are of; now where None.
            checksum: of what the client asks, to tell it again from another request under the same ID.
            entities: key of each row; None where the client gave the tensors.

        Raises:
            QueueFullError: too many requests wait.
            ModelFailedError: its graph failed, or gave what is no number.
        """
        outputs = await self.batcher.submit(model, inputs, rows)
        refuse_no_answer(model, outputs)
        if id is None:
            own, repeated, asked = new_id(), False, None
        else:
            asked = checksum()
            own, repeated = self.observing.ids.take(id, rows, asked)
        observed = Observed(
            model=model,
            id=own,
            event_time=now() if event_time is None else nanoseconds(event_time),
            inputs=inputs,
            outputs=outputs,
            rows=rows,
            entities=entities,
            repeated=repeated,
            checksum=asked,
        )
        self.metrics.predictions.labels(model.file.name, model.file.version).inc(rows)
        if not self.observer.offer(observed) and not repeated:
            self.observing.ids.give_back(own, rows)
        return observed

    def told(self) -> dict[str, Any]:
        """What the model's metadata say beyond the protocol."""
        file = self.model.file
        told: dict[str, Any] = {"digest": f"sha256:{file.sha256}", "source": file.uri}
        if file.learnt:
            told |= {
                "features": file.learnt.features,
                "window_length": file.learnt.window,
                "label": file.learnt.label,
                "classes": file.learnt.classes,
                "feature_group": file.learnt.feature_group,
            }
        if self.follow_problem:
            told["follow_problem"] = self.follow_problem
        return told

    async def close(self) -> None:
        """Answer what waits, then end."""
        self.draining = True
        self.metrics.ready.set(0)
        await self.batcher.drained()
        self.batcher.close()
        self.group_monitors.close()
        if self._observing is not None:
            await asyncio.to_thread(self._observing.observer.close)

    def _loaded(self, source: ModelSource, digest: str | None) -> ServedModel:
        model = ServedModel(source.fetch(digest=digest), threads=self.settings.threads)
        model.warm_up(self.settings.max_batch_rows)
        return model

    def _serve(self, model: ServedModel) -> None:
        self._model = model
        file = model.file
        self.metrics.serves(file.name, file.version, f"sha256:{file.sha256}")
        self.metrics.ready.set(0 if self.draining else 1)
        logger.info("serving %s version %s (%s)", file.name, file.version, file.uri)

    @staticmethod
    def _refuse_other(before: ServedModel, after: ServedModel, *, other_schema: bool) -> None:
        if before.file.name != after.file.name:
            raise UnusableSwapError(
                f'it is of the model "{after.file.name}", and "{before.file.name}" is served'
            )
        if not other_schema and not before.same_schema(after):
            raise OtherSchemaError(
                f"version {after.file.version} of {after.file.name} reads or answers other tensors than "
                f"version {before.file.version}; start another server, or give other_schema"
            )


def now() -> int:
    """Nanoseconds since 1970 in UTC, whole microseconds: a label read back from the log finds its row."""
    return time.time_ns() // 1000 * 1000


def nanoseconds(moment: datetime) -> int:
    """Nanoseconds since 1970 in UTC."""
    return (moment - EPOCH) // timedelta(microseconds=1) * 1000


class NewIds:
    """Makes IDs that nobody else has; asks the machine for random bytes once for many.

    Args:
        random: gives so many random bytes.
    """

    def __init__(self, random: Callable[[int], bytes] = secrets.token_bytes) -> None:
        self._random = random
        self._left: list[str] = []

    def __call__(self) -> str:
        """The next one, 32 hexadecimal digits."""
        if not self._left:
            digits = self._random(ID_BYTES * IDS_AT_ONCE).hex()
            self._left = [digits[at : at + 2 * ID_BYTES] for at in range(0, len(digits), 2 * ID_BYTES)]
        return self._left.pop()


new_id = NewIds()
