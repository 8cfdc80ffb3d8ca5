"""Where a TrainingJob came from: its RetrainingPolicy, and what asked for it. Pure."""

from typing import cast, get_args

from mlinfra.resources.base import ObjectMeta
from mlinfra.resources.names import RETRAINING_POLICY_LABEL, TRIGGER_ANNOTATION
from mlinfra.resources.retraining_policy_status import Trigger

TRIGGERS = get_args(Trigger)


def origin_of(metadata: ObjectMeta) -> tuple[str | None, Trigger | None]:
    """The policy's name and the trigger; None where a person applied the TrainingJob."""
    trigger = metadata.annotations.get(TRIGGER_ANNOTATION)
    return metadata.labels.get(RETRAINING_POLICY_LABEL), cast(
        "Trigger | None", trigger if trigger in TRIGGERS else None
    )
