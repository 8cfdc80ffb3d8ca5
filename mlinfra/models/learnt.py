"""What a model's metadata tell of it: the columns it reads, over how many rows, and what it predicts."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlinfra.models.errors import ForeignModelError

PREFIX = "mlinfra."


@dataclass(frozen=True, slots=True)
class LearntModel:
    """What a model reads and predicts, as its metadata tell.

    Attributes:
        features: columns it sees, in their order.
        window: consecutive rows in one sample.
        label: column it predicts.
        classes: value of each class it tells apart; none where it predicts a value.
        feature_group: the group it learnt from; None in models that do not tell.
    """

    features: tuple[str, ...]
    window: int
    label: str
    classes: tuple[Any, ...]
    feature_group: str | None = None


def learnt_model(properties: Mapping[str, str]) -> LearntModel:
    """Read back what `mlinfra.training.metadata.model_metadata` wrote.

    Raises:
        ForeignModelError: another library wrote the model, or a property is damaged.
    """
    missing = [
        key for key in ("features", "window_length", "label", "classes") if PREFIX + key not in properties
    ]
    if missing:
        raise ForeignModelError(
            f"its ONNX metadata lack {', '.join(PREFIX + key for key in missing)}: mlinfra did not train it"
        )
    try:
        learnt = LearntModel(
            features=tuple(str(name) for name in json.loads(properties[f"{PREFIX}features"])),
            window=int(properties[f"{PREFIX}window_length"]),
            label=properties[f"{PREFIX}label"],
            classes=tuple(json.loads(properties[f"{PREFIX}classes"])),
            feature_group=properties.get(f"{PREFIX}feature_group"),
        )
    except (ValueError, TypeError) as error:
        raise ForeignModelError(f"its ONNX metadata are damaged: {error}") from error
    if learnt.window < 1 or not learnt.features:
        raise ForeignModelError("its ONNX metadata name no features or no window")
    return learnt
