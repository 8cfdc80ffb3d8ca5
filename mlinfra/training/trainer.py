"""The training loop: batches of windows held in memory, on the CPU or GPUs, in one or several processes."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mlinfra.resources.built_in_training import TrainingParameters
from mlinfra.training.batches import Batches, WindowSource
from mlinfra.training.epochs import Epoch, Fit, Patience, yardstick
from mlinfra.training.errors import TrainingDivergedError, TrainingInterruptedError
from mlinfra.training.objective import Objective
from mlinfra.training.optimization import Schedule, build_optimizer
from mlinfra.training.precision import choose_precision
from mlinfra.training.processes import Agreement, lost_peers
from mlinfra.training.reproducibility import random_state, restore_random_state
from mlinfra.training.runtime import Runtime
from mlinfra.training.samples import Part, Samples

LEAST_LOSS_SCALE = 2.0**-14
"""Below it, FP16 has skipped some thirty steps in a row: the gradients are not finite at any scale."""


class FitCheckpoints(Protocol):
    """Where the state of one fit is kept; every process calls, the first one writes."""

    def due(self, epochs: int) -> bool:
        """Whether a checkpoint is to be written after so many epochs."""
        ...

    def save(self, state: Mapping[str, Any]) -> None:
        """Write a checkpoint."""
        ...

    def load(self) -> Mapping[str, Any] | None:
        """The state to go on from; None to begin."""
        ...


class Trainer:
    """Trains one network; its state can be saved after any batch and gone on from.

    Args:
        network: reads raw features, (batch, window, features); gives outputs, (batch, outputs).
        samples: the training part is learnt, the validation part chooses the epoch.
        parameters: epochs, batch size, optimizer, scheduler, precision, early stopping. The order of the
            samples follows the seed.
        objective: the loss and the measures.
        runtime: device and processes; each process learns its share of every batch.

    Raises:
        UnsupportedPrecisionError: the device lacks the precision.
        UnknownMetricError: early stopping names a metric that the objective does not measure.
    """

    def __init__(
        self,
        network: nn.Module,
        samples: Samples,
        parameters: TrainingParameters,
        *,
        objective: Objective,
        runtime: Runtime,
    ) -> None:
        device = runtime.device
        self._parameters, self._objective, self._runtime = parameters, objective, runtime
        self._processes = runtime.processes
        self._precision = choose_precision(parameters.precision, device)
        self._scaler = self._precision.scaler(device)
        self._network = network.to(device)
        source = WindowSource(samples, device)
        self._train = Batches(source, samples, samples.train, objective)
        self._validation = Batches(source, samples, samples.validation, objective)
        self._learner = self._processes.wrapped(self._network, device)
        self._optimizer = build_optimizer(self._network, parameters)
        self._batches = math.ceil(len(self._train) / parameters.batch_size)
        self._schedule = Schedule(self._optimizer, parameters, batches=self._batches)
        self._patience = Patience(parameters.early_stopping, self._yardstick())
        self._epochs: list[Epoch] = []
        self._best_weights: dict[str, Tensor] = {}
        self._shuffle = torch.Generator().manual_seed(parameters.seed)
        if not self._processes.first:
            # Each process drops other activations out; the weights came from the first one's generator.
            torch.manual_seed(parameters.seed + self._processes.rank)
        # Of the epoch at hand: the generator before it, batches done, loss summed over their samples.
        self._shuffle_before = self._shuffle.get_state()
        self._done = 0
        self._loss = torch.zeros((), dtype=torch.float64, device=device)
        self._spent = 0.0

    def fit(self, *, on_epoch: Callable[[Epoch], None], checkpoints: FitCheckpoints | None = None) -> Fit:
        """Train, and leave the network with the weights of its best epoch.

        Args:
            on_epoch: called after each epoch, in the first process.
            checkpoints: where to go on from, and where to write the state.

        Raises:
            TrainingDivergedError: the loss is not a number.
            TrainingInterruptedError: the runtime's interruption was requested.
            PeerLostError: another process ended, or does not answer.
        """
        processes, interruption = self._processes, self._runtime.interruption
        if checkpoints is not None and (state := checkpoints.load()) is not None:
            self.restore(state)
        agreement = Agreement(processes)
        with interruption.deferred(), lost_peers(processes.rank, processes.size):
            while len(self._epochs) < self._parameters.epochs and not self._patience.exhausted:
                self._train_epoch(agreement, checkpoints)
                epoch = self._finish_epoch()
                if processes.first:
                    on_epoch(epoch)
                stop = agreement.settle(interruption.requested)
                if checkpoints is not None and (stop or self._over or checkpoints.due(len(self._epochs))):
                    checkpoints.save(self.state())
                if stop and not self._over:
                    self._interrupt(saved=checkpoints is not None)
        self._network.load_state_dict(self._best_weights)
        if self._patience.best is None:
            raise ValueError("epochs must be at least 1")
        return Fit(
            epochs=tuple(self._epochs),
            best=self._patience.best,
            stopped_early=len(self._epochs) < self._parameters.epochs,
        )

    def state(self) -> dict[str, Any]:
        """All that decides how the training goes on, as nested plain values and tensors.

        Every process must call it: each has random generators of its own.
        """
        return {
            "network": self._network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scheduler": self._schedule.state(),
            "scaler": self._scaler.state_dict() if self._scaler is not None else None,
            "patience": self._patience.state(),
            "best_weights": self._best_weights,
            "epochs": [epoch.state() for epoch in self._epochs],
            "shuffle": self._shuffle_before,
            "batches_done": self._done,
            "seconds": self._spent,
            "processes": self._processes.gather(
                {"loss": self._loss.cpu(), "random": random_state(self._runtime.device)}
            ),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`."""
        self._network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.restore(state["scheduler"])
        if self._scaler is not None and state["scaler"] is not None:
            self._scaler.load_state_dict(state["scaler"])
        self._patience.restore(state["patience"])
        device = self._runtime.device
        self._best_weights = {name: value.to(device) for name, value in state["best_weights"].items()}
        self._epochs = [Epoch.of_state(epoch) for epoch in state["epochs"]]
        self._shuffle_before = state["shuffle"]
        self._shuffle.set_state(self._shuffle_before)
        self._done = state["batches_done"]
        self._spent = state["seconds"]
        own = state["processes"]
        if len(own) == self._processes.size:
            self._loss = own[self._processes.rank]["loss"].to(device)
            restore_random_state(own[self._processes.rank]["random"], device)
        elif self._processes.first:
            # Other processes than before: the sum is whole, and only what is dropped out differs.
            self._loss = torch.stack([each["loss"] for each in own]).sum().to(device)

    @property
    def _over(self) -> bool:
        return len(self._epochs) >= self._parameters.epochs or self._patience.exhausted

    def _train_epoch(self, agreement: Agreement, checkpoints: FitCheckpoints | None) -> None:
        """What remains of the epoch at hand."""
        self._learner.train()
        self._network.train()
        with self._timed():
            order = torch.randperm(len(self._train), generator=self._shuffle)
            for windows, targets, weight, size in self._shares(order):
                loss = self._step(windows, targets, weight)
                self._done += 1
                # Summed on the device: reading the loss of each batch would wait for the GPU each time.
                self._loss += loss.detach() * size
                last = self._done == self._batches
                if not last and agreement.reached(self._runtime.interruption.requested):
                    break
        if self._done < self._batches:
            if checkpoints is not None:
                checkpoints.save(self.state())
            self._interrupt(saved=checkpoints is not None)

    def _shares(self, order: Tensor) -> Iterator[tuple[Tensor, Tensor, float, int]]:
        """This process's windows and targets of each batch, what its mean loss weighs, and its samples.

        Gradients are averaged over the processes: with these weights their mean is that of the batch.
        """
        size, batch_size = self._processes.size, self._parameters.batch_size
        if size == 1:
            for windows, targets in self._train.in_order(order, batch_size, skip=self._done):
                yield windows, targets, 1.0, len(targets)
            return
        for number, batch in enumerate(torch.split(order, batch_size)):
            if number < self._done:
                continue
            mine = self._processes.share(len(batch))
            # A process without a share still takes part in the averaging, with a sample that weighs nothing.
            positions = batch[mine.start : mine.stop] if len(mine) else batch[:1]
            ((windows, targets),) = self._train.in_order(positions, batch_size)
            yield windows, targets, len(mine) * size / len(batch), len(mine)

    def _step(self, windows: Tensor, targets: Tensor, weight: float) -> Tensor:
        """One step of the optimizer; gives the mean loss of the samples."""
        optimizer, scaler, clip_norm = self._optimizer, self._scaler, self._parameters.gradient_clip_norm
        optimizer.zero_grad(set_to_none=True)
        with self._precision.autocast(self._runtime.device):
            outputs = self._learner(windows)
        loss = self._objective.loss(outputs.float(), targets)
        weighted = loss if weight == 1.0 else loss * weight
        if scaler is None:
            weighted.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            if clip_norm is not None:
                nn.utils.clip_grad_norm_(self._network.parameters(), clip_norm)
            optimizer.step()
            self._schedule.after_batch()
            return loss
        scaler.scale(weighted).backward()  # type: ignore[no-untyped-call]
        if clip_norm is not None:
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(self._network.parameters(), clip_norm)
        before = scaler.get_scale()
        scaler.step(optimizer)
        scaler.update()
        # A step whose gradients overflowed was left out: the schedule waits for it.
        if scaler.get_scale() >= before:
            self._schedule.after_batch()
        return loss

    def _finish_epoch(self) -> Epoch:
        """Validate, judge the epoch, and prepare the next."""
        with self._timed():
            self._processes.synchronise(self._network)
            train_loss = self._processes.sum(self._loss).item() / len(self._train)
            outputs = self._validation_outputs()
            targets = self._validation.targets
            val_loss = self._objective.loss(outputs, targets).item()
            val_metrics = self._objective.validation_metrics(outputs, targets)
        epoch = Epoch(len(self._epochs) + 1, train_loss, val_loss, val_metrics, self._spent)
        self._refuse_divergence(epoch)
        self._epochs.append(epoch)
        if self._patience.is_best(epoch):
            self._keep_weights()
        self._schedule.after_epoch()
        self._shuffle_before = self._shuffle.get_state()
        self._done, self._spent = 0, 0.0
        self._loss.zero_()
        return epoch

    def _validation_outputs(self) -> Tensor:
        """The network's outputs for all validation samples, in 32 bits, as it is served."""
        count = len(self._validation)
        share = self._processes.share(count)
        if len(share):
            mine = _outputs(self._network, self._validation, share)
        else:
            mine = torch.zeros((0, self._objective.outputs), device=self._runtime.device)
        return self._processes.concatenate(mine, count)

    def _keep_weights(self) -> None:
        weights = self._network.state_dict()
        if not self._best_weights:
            self._best_weights = {name: value.clone() for name, value in weights.items()}
            return
        for name, value in weights.items():
            self._best_weights[name].copy_(value)

    def _refuse_divergence(self, epoch: Epoch) -> None:
        remedy = f"Try a learning rate below {self._parameters.learning_rate:g}"
        if self._precision.scales_loss:
            remedy += ", or precision BF16 or FP32"
        if not (math.isfinite(epoch.train_loss) and math.isfinite(epoch.val_loss)):
            raise TrainingDivergedError(
                f"The loss is {epoch.train_loss} (training) and {epoch.val_loss} (validation) in epoch "
                f"{epoch.number}. {remedy}."
            )
        if self._scaler is not None and self._scaler.get_scale() < LEAST_LOSS_SCALE:
            raise TrainingDivergedError(
                f"The gradients are not finite in FP16, however small the loss is scaled, in epoch "
                f"{epoch.number}. {remedy}."
            )

    def _interrupt(self, *, saved: bool) -> None:
        where = f"{len(self._epochs)} of {self._parameters.epochs} epochs"
        kept = "its state is in a checkpoint" if saved else "without a checkpoint"
        raise TrainingInterruptedError(f"The training was stopped after {where}, {kept}.")

    def _yardstick(self) -> Any:
        outputs = torch.zeros((1, self._objective.outputs), device=self._runtime.device)
        measures = self._objective.validation_metrics(outputs, self._validation.targets[:1])
        return yardstick(
            self._parameters.early_stopping,
            measures,
            higher_is_better=self._objective.primary.higher_is_better,
        )

    @contextmanager
    def _timed(self) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self._spent += time.perf_counter() - started


def fit(
    network: nn.Module,
    samples: Samples,
    parameters: TrainingParameters,
    *,
    objective: Objective,
    on_epoch: Callable[[Epoch], None],
    runtime: Runtime,
    checkpoints: FitCheckpoints | None = None,
) -> Fit:
    """Train ``network`` in place and leave it with the weights of its best epoch; see `Trainer`."""
    trainer = Trainer(network, samples, parameters, objective=objective, runtime=runtime)
    return trainer.fit(on_epoch=on_epoch, checkpoints=checkpoints)


def predict(
    served: nn.Module, samples: Samples, part: Part, objective: Objective, *, device: torch.device
) -> NDArray[np.float32]:
    """What the served form of a network answers for the samples of a part, (samples, outputs)."""
    served.to(device)
    batches = Batches(WindowSource(samples, device), samples, part, objective)
    outputs: NDArray[np.float32] = _outputs(served, batches, range(len(batches))).cpu().numpy()
    return outputs


def _outputs(network: nn.Module, batches: Batches, positions: range) -> Tensor:
    network.eval()
    with torch.inference_mode():
        return torch.cat([network(windows) for windows in batches.windows(positions)])
