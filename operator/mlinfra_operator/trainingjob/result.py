"""Which of the models that a run logged is its result. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from mlinfra.tracking.contract import MODEL_TAG
from mlinfra_operator.tracking import LoggedModel

READY = "READY"


@dataclass(frozen=True, slots=True)
class NoResult:
    """Why there is no result: a CamelCase reason and a message for people."""

    reason: str
    message: str


def result_model(models: Sequence[LoggedModel]) -> LoggedModel | NoResult:
    """The one model tagged as the result, else the only one that is ready and not withdrawn."""
    tagged = [model for model in models if model.tags.get(MODEL_TAG) == "true"]
    candidates = tagged or [
        model for model in models if model.status == READY and model.tags.get(MODEL_TAG) != "false"
    ]
    if len(candidates) == 1:
        chosen = candidates[0]
        if chosen.status == READY:
            return chosen
        return NoResult(
            "NoModel",
            f"the run's model {chosen.name} is not ready but {chosen.status}: it was not logged whole",
        )
    if not candidates:
        return NoResult(
            "NoModel",
            "the training ended well but its run logged no model; log one with MLflow's log_model",
        )
    names = ", ".join(sorted(f"{model.name} ({model.model_id})" for model in candidates))
    return NoResult(
        "AmbiguousModel",
        f"the run logged {len(candidates)} models: {names}; tag the result with {MODEL_TAG}=true",
    )
