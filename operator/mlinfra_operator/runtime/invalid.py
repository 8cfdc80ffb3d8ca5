"""Tells of an object that this operator's models cannot read: its CRDs are of another version."""

import logging

from pydantic import ValidationError

from mlinfra_operator.conditions import Event
from mlinfra_operator.runtime.cache import Object
from mlinfra_operator.runtime.events import EventPoster

logger = logging.getLogger(__name__)


def tell_invalid(events: EventPoster, obj: Object, error: ValidationError) -> None:
    """Post an Event that names the first field that is wrong."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    message = f"{where}: {first['msg']}; apply the CRDs of this operator's version"
    logger.error("%s %s: %s", obj["kind"], obj["metadata"]["name"], message)
    events.post(obj, Event("Warning", "InvalidResource", message))
