"""Retraining: when a model is trained again, decided the same with and without Kubernetes.

    pipeline = get_retraining_pipeline(RetrainingConfig(retraining_interval_hours=24))
    await pipeline.start()

Importing this package is instant; the trainer loads with the first pipeline.
"""

from typing import TYPE_CHECKING, Any

from mlinfra.retraining.triggers import RetrainingTrigger

if TYPE_CHECKING:
    from mlinfra.retraining.config import RetrainingConfig
    from mlinfra.retraining.pipeline import RetrainingPipeline, get_retraining_pipeline

__all__ = ["RetrainingConfig", "RetrainingPipeline", "RetrainingTrigger", "get_retraining_pipeline"]
_MODULES = {
    "RetrainingConfig": "config",
    "RetrainingPipeline": "pipeline",
    "get_retraining_pipeline": "pipeline",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
