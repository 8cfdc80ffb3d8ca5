"""Retraining: when a model is trained again, decided the same with and without Kubernetes."""

from mlinfra.retraining.triggers import RetrainingTrigger

__all__ = ["RetrainingTrigger"]
