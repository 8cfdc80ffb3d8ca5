"""Labels of predictions: ``POST /v2/models/{model}/feedback``."""

import asyncio
from typing import Any

import orjson

from mlinfra.errors import MlinfraError
from mlinfra.models.learnt import LearntModel
from mlinfra.serving.calls import Answer, Call, json_answer
from mlinfra.serving.errors import InvalidRequestError, RequestError, StoreUnavailableError, UnsupportedError
from mlinfra.serving.label_book import checked_label
from mlinfra.serving.observations import FeedbackResult, Label
from mlinfra.serving.server import ModelServer

MAX_LABELS = 100_000


class FeedbackRoute:
    """Takes labels."""

    def __init__(self, server: ModelServer) -> None:
        self._server = server

    async def feedback(self, call: Call) -> Answer:
        """``POST .../feedback``: ``[{"id": "...", "label": 1}, ...]``; answered once the labels are kept."""
        server = self._server
        learnt = server.asked_for(call.path).learnt
        if not server.observer.takes_labels:
            raise UnsupportedError(
                "labels are kept beside the prediction log, which this server has none of: set "
                "MLINFRA_PREDICTION_LOG_URI"
            )
        labels = decode_labels(await call.body(), learnt)
        try:
            result = await asyncio.wrap_future(server.observer.feedback(labels))
        except RequestError:
            raise
        except MlinfraError as error:
            raise StoreUnavailableError(f"the labels cannot be kept: {error}") from error
        for outcome, count in _counts(result).items():
            server.metrics.labels.labels(outcome).inc(count)
        return feedback_answer(result)


def decode_labels(body: bytes, learnt: LearntModel | None) -> list[Label]:
    """Read and check the body of a feedback call.

    Raises:
        InvalidRequestError: it is no list of IDs and labels.
        UnusableValueError: a label is none that the model can be measured by.
    """
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequestError(f"the body is no JSON: {error}") from error
    if not isinstance(given, list) or not given:
        raise InvalidRequestError('the body is a list: [{"id": "...", "label": 1}, ...]')
    if len(given) > MAX_LABELS:
        raise InvalidRequestError(f"{len(given)} labels, and {MAX_LABELS} are taken at once")
    return [_label(each, learnt) for each in given]


def feedback_answer(result: FeedbackResult) -> Answer:
    """What became of the labels; 404 where none of them is of a known prediction."""
    told: dict[str, Any] = {
        "accepted": result.accepted,
        "repeated": result.repeated,
        "conflicting": result.conflicting,
        "unknown": result.unknown,
        "uncounted": result.uncounted,
    }
    if not (result.accepted or result.repeated or result.conflicting):
        told |= {"error": "no such prediction is known, or none any longer", "reason": "UnknownPrediction"}
        return json_answer(told, 404)
    return json_answer(told)


def _label(given: Any, learnt: LearntModel | None) -> Label:
    if not isinstance(given, dict) or set(given) != {"id", "label"} or not isinstance(given["id"], str):
        raise InvalidRequestError(f'a label is {{"id": "...", "label": 1}}, not {given!r:.80}')
    return Label(given["id"], checked_label(given["id"], given["label"], learnt))


def _counts(result: FeedbackResult) -> dict[str, int]:
    return {
        "accepted": result.accepted,
        "repeated": len(result.repeated),
        "conflicting": len(result.conflicting),
        "unknown": len(result.unknown),
        "uncounted": len(result.uncounted),
    }
