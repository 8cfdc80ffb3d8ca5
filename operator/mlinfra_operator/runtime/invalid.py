"""Objects that this operator's models cannot read: the CRDs are of another version than the operator."""

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from mlinfra.resources.base import Condition
from mlinfra_operator import conditions
from mlinfra_operator.conditions import Event
from mlinfra_operator.runtime.cache import Object
from mlinfra_operator.runtime.events import EventPoster
from mlinfra_operator.runtime.status import StatusWriter
from mlinfra_operator.tracking import END_OF_PHASE

Model = TypeVar("Model", bound=BaseModel)

REASON = "InvalidResource"

logger = logging.getLogger(__name__)


def read(model: type[Model], obj: Object) -> Model | None:
    """An object, or a part of one; None where it cannot be read, which is told where it is reconciled."""
    try:
        return model.model_validate(obj)
    except ValidationError:
        return None


async def tell_invalid(
    writer: StatusWriter, events: EventPoster, obj: Object, error: ValidationError, now: datetime
) -> None:
    """Tell of the first field that is wrong, in the status and once by an Event.

    Raises:
        Retry: somebody changed the object meanwhile.
    """
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    message = f"{where}: {first['msg']}; apply the CRDs of this operator's version"
    before: Mapping[str, Any] = obj.get("status") or {}
    # What has come to its end stays as it is.
    status = before if before.get("phase") in END_OF_PHASE else invalid_status(obj, message, now)
    if status == before:
        return
    logger.error("%s %s: %s", obj["kind"], obj["metadata"]["name"], message)
    if await writer.write(obj, dict(status)):
        events.post(obj, Event("Warning", REASON, message))


def invalid_status(obj: Object, message: str, now: datetime) -> Object:
    """The status with `Stalled`; what else it says stays, for nobody knows better."""
    status: Object = obj.get("status") or {}
    generation = int(obj["metadata"].get("generation", 0))
    told = conditions.stalled(REASON, message)
    types = {each.type for each in told}
    old = [each for each in status.get("conditions") or () if each["type"] in types]
    others = [each for each in status.get("conditions") or () if each["type"] not in types]
    # Of a condition that another version wrote no more than its time is needed.
    known = [
        Condition(
            type=each["type"],
            status=each["status"],
            reason=each["reason"],
            last_transition_time=each["lastTransitionTime"],
        )
        for each in old
    ]
    merged = conditions.merge(known, told, generation=generation, now=now)
    return {
        **status,
        "observedGeneration": generation,
        "conditions": [*(each.to_wire() for each in merged), *others],
    }
