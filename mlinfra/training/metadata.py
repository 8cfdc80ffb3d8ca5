"""What a server must know of a model besides its graph."""

import json
from typing import Any

from mlinfra import __version__
from mlinfra.training.config import TrainingConfig
from mlinfra.training.objective import Objective
from mlinfra.training.samples import Samples
from mlinfra.training.source import working_commit


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
