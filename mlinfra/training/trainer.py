"""The training loop: batches of windows held in memory, on the CPU or one GPU."""

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mlinfra.resources.built_in_training import EarlyStopping, TrainingParameters
from mlinfra.training.errors import TrainingDivergedError
from mlinfra.training.objective import Objective
from mlinfra.training.samples import Part, Samples

EVALUATION_BATCH = 4096


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch came to.

    Attributes:
        number: from 1.
        train_loss: the objective's mean loss over the training samples, dropout included.
        val_loss: its mean loss over the validation samples.
        val_metrics: the objective's measures on the validation samples, by metric key.
        seconds: wall time of the epoch.
    """

    number: int
    train_loss: float
    val_loss: float
    val_metrics: Mapping[str, float]
    seconds: float


@dataclass(frozen=True, slots=True)
class Fit:
    """All epochs, and the one whose weights the network now has."""

    epochs: tuple[Epoch, ...]
    best: Epoch
    stopped_early: bool


class Patience:
    """Judges after each epoch whether it is the best so far and whether to go on."""

    def __init__(self, early_stopping: EarlyStopping | None) -> None:
        self._early_stopping = early_stopping
        self._reference = math.inf
        self._stale = 0
        self.best: Epoch | None = None

    def is_best(self, epoch: Epoch) -> bool:
        """Take note of an epoch; True where its validation loss is the least so far."""
        min_delta = self._early_stopping.min_delta if self._early_stopping else 0.0
        if epoch.val_loss < self._reference - min_delta:
            self._reference = epoch.val_loss
            self._stale = 0
        else:
            self._stale += 1
        if self.best is None or epoch.val_loss < self.best.val_loss:
            self.best = epoch
            return True
        return False

    @property
    def exhausted(self) -> bool:
        """Whether enough epochs passed without an improvement that counts."""
        return self._early_stopping is not None and self._stale >= self._early_stopping.patience


class WindowBatches:
    """Windows and targets of one part of the samples, on a device, without a copy of each window."""

    def __init__(self, samples: Samples, part: Part, objective: Objective, device: torch.device) -> None:
        features = torch.from_numpy(samples.rows.features).to(device)
        self._windows = features.unfold(0, samples.window, 1).transpose(1, 2)
        self._first_rows = torch.from_numpy(part.last_rows - (samples.window - 1)).to(device)
        targets = objective.targets(samples.rows.label[part.last_rows])
        self.targets = torch.from_numpy(targets).to(device)
        self._device = device

    def __len__(self) -> int:
        return len(self.targets)

    def at(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Windows, (batch, window, features), and targets, (batch,), at positions on the CPU."""
        chosen = positions.to(self._device)
        return self._windows[self._first_rows[chosen]], self.targets[chosen]


def choose_device() -> torch.device:
    """The first GPU where torch sees one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fit(
    network: nn.Module,
    samples: Samples,
    parameters: TrainingParameters,
    *,
    objective: Objective,
    on_epoch: Callable[[Epoch], None],
    device: torch.device,
) -> Fit:
    """Train ``network`` in place and leave it with the weights of its best epoch.

    Args:
        network: reads raw features, (batch, window, features); gives outputs, (batch, outputs).
        samples: the training part is learnt, the validation part chooses the epoch.
        parameters: epochs, batch size, optimizer and its settings, early stopping. The order of the
            samples follows the seed.
        objective: the loss and the measures.
        on_epoch: called after each epoch.
        device: where to train.

    Raises:
        TrainingDivergedError: the loss is not a number.
    """
    network.to(device)
    train = WindowBatches(samples, samples.train, objective, device)
    validation = WindowBatches(samples, samples.validation, objective, device)
    optimizer = _optimizer(network, parameters)
    shuffle = torch.Generator().manual_seed(parameters.seed)
    patience = Patience(parameters.early_stopping)
    best_weights: dict[str, Tensor] = {}
    epochs: list[Epoch] = []
    while len(epochs) < parameters.epochs and not patience.exhausted:
        started = time.perf_counter()
        order = torch.randperm(len(train), generator=shuffle)
        train_loss = _train_epoch(
            network, train, objective, optimizer, order=order, batch_size=parameters.batch_size
        )
        outputs = _outputs(network, validation)
        val_loss = objective.loss(outputs, validation.targets).item()
        epoch = Epoch(
            number=len(epochs) + 1,
            train_loss=train_loss,
            val_loss=val_loss,
            val_metrics=objective.validation_metrics(outputs, validation.targets),
            seconds=time.perf_counter() - started,
        )
        if not (math.isfinite(train_loss) and math.isfinite(val_loss)):
            raise TrainingDivergedError(
                f"The loss is {train_loss} (training) and {val_loss} (validation) in epoch {epoch.number}. "
                f"Try a learning rate below {parameters.learning_rate:g}."
            )
        epochs.append(epoch)
        if patience.is_best(epoch):
            best_weights = copy.deepcopy(network.state_dict())
        on_epoch(epoch)
    if patience.best is None:
        raise ValueError("epochs must be at least 1")
    network.load_state_dict(best_weights)
    return Fit(epochs=tuple(epochs), best=patience.best, stopped_early=len(epochs) < parameters.epochs)


def predict(
    served: nn.Module, samples: Samples, part: Part, objective: Objective, *, device: torch.device
) -> NDArray[np.float32]:
    """What the served form of a network answers for the samples of a part, (samples, outputs)."""
    served.to(device)
    outputs: NDArray[np.float32] = (
        _outputs(served, WindowBatches(samples, part, objective, device)).cpu().numpy()
    )
    return outputs


def _optimizer(network: nn.Module, parameters: TrainingParameters) -> torch.optim.Optimizer:
    optimizers: dict[str, type[torch.optim.Optimizer]] = {
        "AdamW": torch.optim.AdamW,
        "Adam": torch.optim.Adam,
        "SGD": torch.optim.SGD,
    }
    settings: dict[str, Any] = {
        "lr": parameters.learning_rate,
        "weight_decay": parameters.weight_decay,
    }
    return optimizers[parameters.optimizer](network.parameters(), **settings)


def _train_epoch(
    network: nn.Module,
    batches: WindowBatches,
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    *,
    order: Tensor,
    batch_size: int,
) -> float:
    network.train()
    # Summed on the device: reading the loss of each batch would wait for the GPU each time.
    total = torch.zeros((), dtype=torch.float64)
    for positions in torch.split(order, batch_size):
        windows, targets = batches.at(positions)
        optimizer.zero_grad(set_to_none=True)
        loss = objective.loss(network(windows), targets)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        optimizer.step()
        total = total.to(loss.device) + loss.detach() * len(targets)
    return total.item() / len(order)


def _outputs(network: nn.Module, batches: WindowBatches) -> Tensor:
    network.eval()
    with torch.inference_mode():
        positions = torch.split(torch.arange(len(batches)), EVALUATION_BATCH)
        return torch.cat([network(batches.at(chosen)[0]) for chosen in positions])
