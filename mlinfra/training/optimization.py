"""Optimizers and learning rate schedulers: PyTorch's own, built from a training's parameters."""

from typing import Any

import torch
from torch import nn
from torch.optim import lr_scheduler

from mlinfra.resources.built_in_training import LearningRateScheduler, TrainingParameters

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "AdamW": torch.optim.AdamW,
    "Adam": torch.optim.Adam,
    "SGD": torch.optim.SGD,
}
STEP_SIZE = 10
STEP_GAMMA = 0.1
EXPONENTIAL_GAMMA = 0.95


def build_optimizer(network: nn.Module, parameters: TrainingParameters) -> torch.optim.Optimizer:
    """The optimizer of all weights of a network."""
    settings: dict[str, Any] = {"lr": parameters.learning_rate, "weight_decay": parameters.weight_decay}
    return OPTIMIZERS[parameters.optimizer](network.parameters(), **settings)


class Schedule:
    """Moves the learning rate: with each batch for OneCycleLR, else with each epoch.

    Args:
        optimizer: whose learning rate moves.
        parameters: scheduler, epochs and learning rate.
        batches: steps of the optimizer in an epoch.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, parameters: TrainingParameters, *, batches: int
    ) -> None:
        settings = parameters.scheduler
        self.each_batch = settings is not None and settings.name == "OneCycleLR"
        self._scheduler: lr_scheduler.LRScheduler | None = None
        if settings is None:
            return
        main = _scheduler(optimizer, settings, parameters, batches=batches)
        if settings.warmup_epochs == 0:
            self._scheduler = main
            return
        rising = lr_scheduler.LinearLR(
            optimizer, start_factor=1 / (settings.warmup_epochs + 1), total_iters=settings.warmup_epochs
        )
        self._scheduler = lr_scheduler.SequentialLR(
            optimizer, [rising, main], milestones=[settings.warmup_epochs]
        )

    def after_batch(self) -> None:
        """A step of the optimizer is done."""
        if self.each_batch and self._scheduler is not None:
            self._scheduler.step()

    def after_epoch(self) -> None:
        """An epoch is done."""
        if not self.each_batch and self._scheduler is not None:
            self._scheduler.step()

    def state(self) -> dict[str, Any] | None:
        """The scheduler's own state, for a checkpoint."""
        return self._scheduler.state_dict() if self._scheduler is not None else None

    def restore(self, state: dict[str, Any] | None) -> None:
        """Go on from `state`."""
        if self._scheduler is not None and state is not None:
            self._scheduler.load_state_dict(state)


def _scheduler(
    optimizer: torch.optim.Optimizer,
    settings: LearningRateScheduler,
    parameters: TrainingParameters,
    *,
    batches: int,
) -> lr_scheduler.LRScheduler:
    match settings.name:
        case "CosineAnnealingLR":
            falling = max(1, parameters.epochs - settings.warmup_epochs)
            return lr_scheduler.CosineAnnealingLR(optimizer, T_max=falling)
        case "StepLR":
            return lr_scheduler.StepLR(
                optimizer, settings.step_size or STEP_SIZE, settings.gamma or STEP_GAMMA
            )
        case "ExponentialLR":
            return lr_scheduler.ExponentialLR(optimizer, settings.gamma or EXPONENTIAL_GAMMA)
        case "OneCycleLR":
            return lr_scheduler.OneCycleLR(
                optimizer, max_lr=parameters.learning_rate, total_steps=parameters.epochs * batches
            )
