"""Requests and answers of predictions by entity.

POST /v2/models/{model}/predict
{"entities": ["AAPL", "MSFT"], "id": "mine", "event_timestamp": "2026-01-31T12:00:00Z",
 "features": {"AAPL": {"rsi": 55.1}}, "missing": "default"}
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from mlinfra.errors import suggestion
from mlinfra.models.learnt import LearntModel
from mlinfra.serving.errors import InvalidRequestError, UnusableValueError
from mlinfra.serving.infer_protocol import event_time, read_object, request_id
from mlinfra.serving.known_ids import checksum_of
from mlinfra.serving.missing import Replaced
from mlinfra.serving.settings import MissingPolicy

FIELDS = ("entities", "id", "event_timestamp", "features", "missing")
MAX_ENTITIES = 10_000
Key = str | int


@dataclass(frozen=True, slots=True)
class PredictRequest:
    """One request.

    Attributes:
        entities: keys, in the order of the answer.
        id: what the client calls it; None where it does not say.
        event_time: as of when; None for now.
        features: values of the newest row that the client knows better than the store, by entity and name.
        missing: the policy for this request; None for the server's.
    """

    entities: Sequence[Key]
    id: str | None
    event_time: datetime | None
    features: Mapping[Key, Mapping[str, float]]
    missing: MissingPolicy | None

    def checksum(self) -> int:
        """Of what is asked; what the store has of the entities may be another the next time."""
        return checksum_of({}, self.entities, self.event_time, self.features, self.missing)


def decode_predict(body: bytes, learnt: LearntModel) -> PredictRequest:
    """Read and check the body of a predict request.

    Raises:
        InvalidRequestError: it is not what the route asks for; the message names the field.
        UnusableValueError: a feature has no value that the model can read.
    """
    request = read_object(body)
    for name in request:
        if name not in FIELDS:
            raise InvalidRequestError(
                f"a predict request has no field {name!r:.80}: {suggestion(name, FIELDS)}"
            )
    entities = request.get("entities")
    if not isinstance(entities, list) or not entities:
        raise InvalidRequestError('entities is a list of keys, such as ["AAPL", "MSFT"]')
    if len(entities) > MAX_ENTITIES:
        raise InvalidRequestError(f"{len(entities)} entities, and {MAX_ENTITIES} are taken at once")
    if any(type(key) not in (str, int) for key in entities):
        raise InvalidRequestError("an entity is named by a text or a whole number")
    missing = request.get("missing")
    if missing is not None and missing not in get_args(MissingPolicy):
        raise InvalidRequestError(
            f"missing is one of {', '.join(get_args(MissingPolicy))}, not {missing!r:.80}"
        )
    return PredictRequest(
        entities=entities,
        id=request_id(request),
        event_time=event_time(request.get("event_timestamp")),
        features=_features(request.get("features"), entities, learnt),
        missing=missing,
    )


def prediction_of(learnt: LearntModel, output: NDArray[Any]) -> dict[str, Any]:
    """What one row of the model's output says: the class and its probabilities, or the value.

    Args:
        learnt: what the model predicts.
        output: (outputs,).
    """
    if not learnt.classes:
        return {"prediction": float(output[0])}
    return {
        "prediction": learnt.classes[int(np.argmax(output))],
        "probabilities": {str(name): float(p) for name, p in zip(learnt.classes, output, strict=True)},
    }


def told_prediction(
    entity: Key, prediction_id: str, events: NDArray[np.int64], replaced: Sequence[Replaced]
) -> dict[str, Any]:
    """What an answer says of one entity, but for the prediction itself."""
    newest = None if not len(events) else f"{np.datetime64(int(events[-1]), 'ns').astype('datetime64[us]')}Z"
    told: dict[str, Any] = {"entity": entity, "id": prediction_id, "features_timestamp": newest}
    if replaced:
        told["replaced"] = [each.to_wire() for each in replaced]
    return told


def _features(given: Any, entities: Sequence[Key], learnt: LearntModel) -> dict[Key, dict[str, float]]:
    if given is None:
        return {}
    if not isinstance(given, dict) or not all(isinstance(each, dict) for each in given.values()):
        raise InvalidRequestError('features is given by entity and name: {"AAPL": {"rsi": 55.1}}')
    keys: dict[str, Key] = {str(key): key for key in entities}
    found: dict[Key, dict[str, float]] = {}
    for key, values in given.items():
        if key not in keys:
            raise InvalidRequestError(f"features are given of {key!r:.80}, which is not among the entities")
        found[keys[key]] = {name: _number(name, value, learnt) for name, value in values.items()}
    return found


def _number(name: str, value: Any, learnt: LearntModel) -> float:
    if name not in learnt.features:
        raise InvalidRequestError(
            f"the model reads no feature {name!r:.80}: {suggestion(name, learnt.features)}"
        )
    if type(value) not in (int, float):
        raise InvalidRequestError(f"feature {name!r} is a number, not {value!r:.80}")
    if not math.isfinite(value) or abs(value) > float(np.finfo(np.float32).max):
        raise UnusableValueError(f"feature {name!r} is {value!r:.80}, beyond 32-bit numbers")
    return float(value)
