"""The folds of a training, one after the other: each trains a network of its own on what came before it.

Every process of a training runs through the same folds; what comes of them is the first one's to tell.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from mlinfra.models import find_architecture
from mlinfra.models.architecture import Architecture, ArchitectureConfig, NetworkShape
from mlinfra.models.normalized import NormalizedNetwork
from mlinfra.training.checkpoints import Checkpoints, fingerprint_of
from mlinfra.training.config import TrainingConfig
from mlinfra.training.epochs import Epoch, Fit
from mlinfra.training.evaluation import Evaluation, evaluate
from mlinfra.training.objective import Objective, objective_for
from mlinfra.training.reproducibility import reproducible
from mlinfra.training.rows import LabelledRows, RowKeys, labelled_rows
from mlinfra.training.runtime import Runtime
from mlinfra.training.samples import Samples, make_folds
from mlinfra.training.trainer import fit, predict


@dataclass(frozen=True, slots=True)
class Preparation:
    """All that is known before the first epoch.

    Attributes:
        architecture_config: the architecture's parameters, with its defaults.
        folds: what each fold learns and is tested on, oldest first; hold-out has one.
    """

    config: TrainingConfig
    rows: LabelledRows
    architecture: Architecture[ArchitectureConfig]
    architecture_config: ArchitectureConfig
    folds: tuple[Samples, ...]

    @property
    def newest(self) -> Samples:
        """The fold whose model is the result."""
        return self.folds[-1]


@dataclass(frozen=True, slots=True)
class TrainedFold:
    """What a fold came to, before it is tested.

    Attributes:
        number: from 1.
        served: the network in the form that is served.
    """

    number: int
    samples: Samples
    objective: Objective
    served: nn.Module
    fit: Fit


def prepare(config: TrainingConfig, frame: pd.DataFrame, keys: RowKeys) -> Preparation:
    """Check all that can be checked before anything is trained.

    Raises:
        InvalidInputError: architecture, parameters or rows can never work.
    """
    architecture = find_architecture(config.model.architecture)
    architecture_config = architecture.configure(config.model.parameters or {})
    rows = labelled_rows(frame, config.data, keys)
    folds = make_folds(rows, config.validation, window=config.data.window_length)
    preparation = Preparation(config, rows, architecture, architecture_config, folds)
    for samples in folds:
        fold_objective(preparation, samples)
    return preparation


def fold_objective(preparation: Preparation, samples: Samples) -> Objective:
    """What a fold's network learns: class weights and scale follow its own training part.

    Raises:
        SingleClassLabelError: the fold's training part holds one class only.
    """
    config = preparation.config
    return objective_for(
        preparation.rows, samples.train, task=config.data.task, class_weights=config.training.class_weights
    )


def train_folds(
    preparation: Preparation,
    *,
    runtime: Runtime,
    on_epoch: Callable[[Epoch], None],
    checkpoints: Checkpoints | None = None,
) -> Iterator[TrainedFold]:
    """Train fold after fold, each anew and from the same seed.

    Args:
        preparation: the folds.
        runtime: device and processes.
        on_epoch: called after each epoch of each fold, in the first process.
        checkpoints: opened; folds that they tell of are left out. Call `Checkpoints.finish_fold` before
            going on to the next.

    Raises:
        TrainingDivergedError: a loss is not a number.
    """
    fingerprint = fingerprint_of(preparation.config, preparation.rows)
    runtime.processes.agree_on("parameters", fingerprint.config)
    runtime.processes.agree_on("rows", fingerprint.rows)
    done = len(checkpoints.finished) if checkpoints is not None else 0
    for number in range(done + 1, len(preparation.folds) + 1):
        yield _train_fold(preparation, number, runtime=runtime, on_epoch=on_epoch, checkpoints=checkpoints)


def take_part(preparation: Preparation, *, runtime: Runtime, checkpoints: Checkpoints | None = None) -> None:
    """Train along with the first process, in any other one.

    Raises:
        PeerLostError: another process ended, or does not answer.
        TrainingDivergedError: a loss is not a number.
    """
    if checkpoints is not None:
        checkpoints.open(fingerprint_of(preparation.config, preparation.rows))
    for fold in train_folds(preparation, runtime=runtime, on_epoch=lambda _: None, checkpoints=checkpoints):
        if checkpoints is not None:
            checkpoints.finish_fold(fold.fit.epochs, {})


def _train_fold(
    preparation: Preparation,
    number: int,
    *,
    runtime: Runtime,
    on_epoch: Callable[[Epoch], None],
    checkpoints: Checkpoints | None,
) -> TrainedFold:
    training = preparation.config.training
    samples = preparation.folds[number - 1]
    objective = fold_objective(preparation, samples)
    shape = NetworkShape(
        samples.window, features=len(preparation.rows.feature_names), outputs=objective.outputs
    )
    with reproducible(training.seed):
        network = NormalizedNetwork(
            preparation.architecture.network(preparation.architecture_config, shape),
            mean=torch.from_numpy(samples.mean),
            scale=torch.from_numpy(samples.scale),
        )
        fitted = fit(
            network,
            samples,
            training,
            objective=objective,
            on_epoch=on_epoch,
            runtime=runtime,
            checkpoints=checkpoints,
        )
    return TrainedFold(number, samples, objective, objective.served(network), fitted)


def evaluate_fold(
    fold: TrainedFold, config: TrainingConfig, *, device: torch.device
) -> tuple[NDArray[np.float32], Evaluation]:
    """What a fold's network answers for its test samples, (samples, outputs), and how good that is."""
    samples = fold.samples
    answers = predict(fold.served, samples, samples.test, fold.objective, device=device)
    embargo = config.validation.embargo
    return answers, evaluate(answers, fold.objective, samples.rows, samples.test, embargo=embargo)


def fold_metrics(number: int, metrics: Mapping[str, float]) -> dict[str, float]:
    """A fold's test metrics under keys of their own, such as ``fold_1_test_accuracy``."""
    return {f"fold_{number}_{key}": value for key, value in metrics.items()}


def walk_forward_metrics(folds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean and standard deviation over the folds of each metric that all of them have.

    Args:
        folds: test metrics of each fold.

    Returns:
        Values such as ``walk_forward_test_accuracy_mean`` and ``_std``, the latter that of these folds.
    """
    common = [key for key in folds[0] if all(key in metrics for metrics in folds)]
    values = {key: np.array([metrics[key] for metrics in folds]) for key in common}
    return {
        **{f"walk_forward_{key}_mean": float(value.mean()) for key, value in values.items()},
        **{f"walk_forward_{key}_std": float(value.std()) for key, value in values.items()},
    }
