"""What a server must know of a model besides its graph."""

import json

from mlinfra import __version__
from mlinfra.training.config import TrainingConfig
from mlinfra.training.samples import Samples


def model_metadata(config: TrainingConfig, samples: Samples) -> dict[str, str]:
    """Properties to keep in a model: features in their order, window, label, where it was learnt."""
    return {
        "mlinfra.version": __version__,
        "mlinfra.architecture": config.model.architecture,
        "mlinfra.features": json.dumps(samples.rows.feature_names),
        "mlinfra.window_length": str(samples.window),
        "mlinfra.label": config.data.label,
        "mlinfra.classes": json.dumps(samples.rows.classes),
        "mlinfra.feature_group": config.data.feature_group,
        "mlinfra.train_period": samples.train.period,
    }
