"""Predictions by entity: ``POST /v2/models/{model}/predict``."""

import asyncio
from typing import Any

import numpy as np

from mlinfra.models.learnt import LearntModel
from mlinfra.serving.calls import Answer, Call, json_answer
from mlinfra.serving.entity_features import EntityFeatures
from mlinfra.serving.errors import QueueFullError, UnsupportedError
from mlinfra.serving.infer_protocol import told_id
from mlinfra.serving.missing import Floats, Known, Replaced, complete
from mlinfra.serving.observations import Observed, prediction_ids
from mlinfra.serving.predict_protocol import PredictRequest, decode_predict, prediction_of, told_prediction
from mlinfra.serving.served_model import ServedModel
from mlinfra.serving.server import ModelServer, nanoseconds
from mlinfra.serving.tensors import refuse_no_numbers


class Predictions:
    """Reads features, completes them, and predicts."""

    def __init__(self, server: ModelServer) -> None:
        self._server = server
        self._features: tuple[ServedModel, EntityFeatures] | None = None
        self._reading = 0

    async def predict(self, call: Call) -> Answer:
        """``POST .../predict``: predictions for entities, with what was done about missing features."""
        model = self._server.asked_for(call.path)
        learnt = _learnt(model)
        request = decode_predict(await call.body(), learnt)
        as_of = None if request.event_time is None else nanoseconds(request.event_time)
        features = self._features_of(model, learnt)
        known = await self._read(features, request, as_of)
        values, replaced = self._completed(known, learnt, request)
        with np.errstate(over="ignore"):
            inputs = {model.inputs[0].name: values.astype(model.inputs[0].dtype)}
        refuse_no_numbers(model.inputs[0], inputs[model.inputs[0].name])
        observed = await self._server.predict(
            model,
            inputs,
            len(known),
            id=request.id,
            event_time=request.event_time,
            entities=request.entities,
            checksum=request.checksum,
        )
        return json_answer(_told(observed, request.id, learnt, known, replaced))

    async def _read(
        self, features: EntityFeatures, request: PredictRequest, as_of: int | None
    ) -> list[Known]:
        limit = self._server.settings.max_pending
        if self._reading >= limit:
            raise QueueFullError(f"{limit} requests read features already; try again later, or add replicas")
        self._reading += 1
        try:
            return await asyncio.to_thread(features.read, request.entities, request.features, as_of=as_of)
        finally:
            self._reading -= 1

    def _features_of(self, model: ServedModel, learnt: LearntModel) -> EntityFeatures:
        if self._features is None or self._features[0] is not model:
            before = self._features
            if before is not None and before[1].learnt == learnt:
                self._features = (model, before[1])
            else:
                self._features = (model, EntityFeatures(learnt, self._server.settings))
        return self._features[1]

    def _completed(
        self, known: list[Known], learnt: LearntModel, request: PredictRequest
    ) -> tuple[Floats, list[list[Replaced]]]:
        settings = self._server.settings
        policy = request.missing or settings.missing
        windows, replaced = [], []
        for each in known:
            values, told = complete(
                each, learnt.features, learnt.window, policy=policy, defaults=settings.defaults
            )
            windows.append(values)
            replaced.append(told)
            for one in told:
                self._server.metrics.replaced.labels(one.feature, one.status).inc()
        return np.stack(windows), replaced


def _learnt(model: ServedModel) -> LearntModel:
    learnt = model.learnt
    if learnt is None or len(model.inputs) != 1:
        raise UnsupportedError(
            f"model {model.file.name} does not tell which features it reads: it is asked with tensors alone, "
            "by the route infer"
        )
    return learnt


def _told(
    observed: Observed,
    asked: str | None,
    learnt: LearntModel,
    known: list[Known],
    replaced: list[list[Replaced]],
) -> dict[str, Any]:
    ids = prediction_ids(observed.id, observed.rows)
    return {
        "model_name": observed.model.file.name,
        "model_version": observed.model.file.version,
        **told_id(asked, observed.id),
        "predictions": [
            told_prediction(each.entity, ids[row], each.events, replaced[row])
            | prediction_of(learnt, observed.outputs[0][row])
            for row, each in enumerate(known)
        ],
    }
