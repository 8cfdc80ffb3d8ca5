"""Training: windows, chronological split, trainer, evaluation, ONNX export, orchestrator, pod entry point.

    result = await TrainingOrchestrator().quick_train(epochs=50, batch_size=64, learning_rate=0.001)

Importing this package is instant; PyTorch and MLflow load with the first name that needs them.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlinfra.training.config import DataConfig, ModelConfig, TrainerConfig, ValidationConfig
    from mlinfra.training.orchestrator import TrainingOrchestrator, get_training_orchestrator

__all__ = [
    "DataConfig",
    "ModelConfig",
    "TrainerConfig",
    "TrainingOrchestrator",
    "ValidationConfig",
    "get_training_orchestrator",
]
_MODULES = {
    "DataConfig": "config",
    "ModelConfig": "config",
    "TrainerConfig": "config",
    "ValidationConfig": "config",
    "TrainingOrchestrator": "orchestrator",
    "get_training_orchestrator": "orchestrator",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
