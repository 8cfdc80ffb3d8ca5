"""What a server must know of a model besides its graph."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlinfra import __version__
from mlinfra.training.config import TrainingConfig
from mlinfra.training.errors import IncomparableChampionError
from mlinfra.training.objective import Objective
from mlinfra.training.samples import Samples
from mlinfra.training.source import working_commit

PREFIX = "mlinfra."


def model_metadata(
    config: TrainingConfig, samples: Samples, objective: Objective, *, model_name: str | None = None
) -> dict[str, str]:
    """Properties to keep in a model: what it reads and answers, what it learnt, and from where.

    Beside the names: ``schema``, the tensors as JSON; ``classes`` as JSON, empty where a value is predicted,
    and then ``unit``, which is that of the label; ``git_sha`` of the working folder, ``-dirty`` where it
    differs, absent where there is none.
    """
    features = list(samples.rows.feature_names)
    schema = {
        "inputs": [tensor("features", ["batch", samples.window, len(features)])],
        "outputs": [tensor(objective.output_name, ["batch", objective.outputs])],
    }
    optional = {
        "mlinfra.model_name": model_name,
        "mlinfra.git_sha": working_commit(),
        "mlinfra.unit": None if samples.rows.classes else f"the unit of {config.data.label}",
    }
    return {key: value for key, value in optional.items() if value is not None} | {
        "mlinfra.version": __version__,
        "mlinfra.task": config.data.task,
        "mlinfra.schema": json.dumps(schema),
        "mlinfra.architecture": config.model.architecture,
        "mlinfra.features": json.dumps(samples.rows.feature_names),
        "mlinfra.window_length": str(samples.window),
        "mlinfra.label": config.data.label,
        "mlinfra.classes": json.dumps(samples.rows.classes),
        "mlinfra.feature_group": config.data.feature_group,
        **{f"mlinfra.{name}_period": period for name, period in samples.periods().items()},
    }


def tensor(name: str, shape: list[str | int]) -> dict[str, Any]:
    """A tensor of 32-bit numbers in the schema."""
    return {"name": name, "dtype": "float32", "shape": shape}


@dataclass(frozen=True, slots=True)
class LearntModel:
    """What a model reads and predicts, as its metadata tell.

    Attributes:
        features: columns it sees, in their order.
        window: consecutive rows in one sample.
        label: column it predicts.
        classes: value of each class it tells apart; none where it predicts a value.
    """

    features: tuple[str, ...]
    window: int
    label: str
    classes: tuple[Any, ...]


def learnt_model(properties: Mapping[str, str]) -> LearntModel:
    """Read back what `model_metadata` wrote.

    Raises:
        IncomparableChampionError: another library wrote the model, or a property is damaged.
    """
    missing = [
        key for key in ("features", "window_length", "label", "classes") if PREFIX + key not in properties
    ]
    if missing:
        raise IncomparableChampionError(
            f"its ONNX metadata lack {', '.join(PREFIX + key for key in missing)}: mlinfra did not train it"
        )
    try:
        learnt = LearntModel(
            features=tuple(str(name) for name in json.loads(properties[f"{PREFIX}features"])),
            window=int(properties[f"{PREFIX}window_length"]),
            label=properties[f"{PREFIX}label"],
            classes=tuple(json.loads(properties[f"{PREFIX}classes"])),
        )
    except (ValueError, TypeError) as error:
        raise IncomparableChampionError(f"its ONNX metadata are damaged: {error}") from error
    if learnt.window < 1 or not learnt.features:
        raise IncomparableChampionError("its ONNX metadata name no features or no window")
    return learnt
