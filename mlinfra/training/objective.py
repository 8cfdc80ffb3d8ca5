"""What a network learns, classes or a value: its loss, its measures, and the form in which it is served.

Trainer, evaluation and export ask the objective, and know nothing else of the label's kind.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mlinfra.models.normalized import Classifier, NormalizedNetwork, Regressor
from mlinfra.training.errors import ConstantLabelError, SingleClassLabelError


@dataclass(frozen=True, slots=True)
class PrimaryMetric:
    """The measure that a model is judged by.

    Attributes:
        name: without the part's prefix, such as ``accuracy`` of ``val_accuracy`` and ``test_accuracy``.
        higher_is_better: whether a greater value is a better model.
    """

    name: str
    higher_is_better: bool


class Objective(ABC):
    """What a network learns.

    Attributes:
        primary: the measure that a model is judged by.
        output_name: name of the served form's output.
    """

    primary: ClassVar[PrimaryMetric]
    output_name: ClassVar[str]

    @property
    @abstractmethod
    def outputs(self) -> int:
        """How many numbers the network gives for a sample."""

    @abstractmethod
    def targets(self, label: NDArray[Any]) -> NDArray[Any]:
        """What `loss` compares the network's outputs with, (samples,), for the rows' label, (samples,)."""

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean over the samples, a scalar: a mean of batch means by size is the mean over all samples.

        Args:
            outputs: of the network, (samples, outputs).
            targets: as `targets` gives them, (samples,).
        """

    @abstractmethod
    def validation_metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """Measures over all validation samples at once, by metric key; the primary one comes first.

        Args:
            outputs: of the network, (samples, outputs).
            targets: as `targets` gives them, (samples,).
        """

    @abstractmethod
    def served(self, network: NormalizedNetwork) -> nn.Module:
        """The network in the form that is served: raw features in, what a user reads out."""


class Classification(Objective):
    """Which class a sample is of: cross-entropy, served as the probability of each class.

    Args:
        classes: how many classes there are.
        weights: what a sample of each class counts, (classes,); 1 each where absent. With a mean of 1
            over the training samples the loss keeps its size.
    """

    primary = PrimaryMetric("accuracy", higher_is_better=True)
    output_name = "probabilities"

    def __init__(self, classes: int, weights: NDArray[np.float32] | None = None) -> None:
        self._classes = classes
        self._weights = None if weights is None else torch.from_numpy(weights)

    @property
    def outputs(self) -> int:
        """One logit a class."""
        return self._classes

    def targets(self, label: NDArray[Any]) -> NDArray[Any]:
        """The index of the class, as it is."""
        return label

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy, weighted by class.

        Not torch's own weighted mean: it divides by the weights within the batch, so that a batch's
        classes would decide what a sample counts.
        """
        if self._weights is None:
            return nn.functional.cross_entropy(outputs, targets)
        self._weights = self._weights.to(outputs.device)
        each = nn.functional.cross_entropy(outputs, targets, reduction="none")
        return (each * self._weights[targets]).mean()

    def validation_metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """``val_accuracy``: share of the samples whose class is right."""
        right = int((outputs.argmax(dim=1) == targets).sum().item())
        return {"val_accuracy": right / len(targets)}

    def served(self, network: NormalizedNetwork) -> nn.Module:
        """Gives probabilities, (batch, classes)."""
        return Classifier(network)


class Regression(Objective):
    """Which value a sample has: squared error of the normalised label, served in the label's own unit.

    The network learns the label at mean 0 and standard deviation 1, so that the learning rate does not
    depend on the label's unit.

    Args:
        mean: mean of the label over the training samples.
        scale: its standard deviation there, above 0.
    """

    primary = PrimaryMetric("mae", higher_is_better=False)
    output_name = "value"

    def __init__(self, mean: float, scale: float) -> None:
        self._mean = mean
        self._scale = scale

    @property
    def outputs(self) -> int:
        """One."""
        return 1

    def targets(self, label: NDArray[Any]) -> NDArray[Any]:
        """The normalised label."""
        return ((label - self._mean) / self._scale).astype(np.float32)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Mean squared error of the normalised label: 1 for always answering the mean."""
        return nn.functional.mse_loss(outputs[:, 0], targets)

    def validation_metrics(self, outputs: Tensor, targets: Tensor) -> dict[str, float]:
        """``val_mae`` and ``val_rmse`` in the label's unit."""
        errors = (outputs[:, 0] - targets).double() * self._scale
        return {
            "val_mae": errors.abs().mean().item(),
            "val_rmse": errors.square().mean().sqrt().item(),
        }

    def served(self, network: NormalizedNetwork) -> nn.Module:
        """Gives values in the label's unit, (batch, 1)."""
        return Regressor(network, mean=torch.tensor(self._mean), scale=torch.tensor(self._scale))


def classification(label: NDArray[np.int64], classes: Sequence[object], *, balanced: bool) -> Classification:
    """The objective of learning ``classes`` from training labels.

    Args:
        label: class index of each training sample, (samples,).
        classes: value of each class.
        balanced: whether every class counts the same in the loss, however rare it is.

    Raises:
        SingleClassLabelError: the training samples hold one class only.
    """
    occurring, counts = np.unique(label, return_counts=True)
    if len(occurring) < 2:
        raise SingleClassLabelError(
            f"Every training row has the label {classes[occurring[0]]!r}: there is nothing to tell apart. "
            "Give a longer date range."
        )
    if not balanced:
        return Classification(len(classes))
    # A class that no training sample has keeps the weight 1.
    weights = np.ones(len(classes), dtype=np.float32)
    weights[occurring] = len(label) / (len(occurring) * counts)
    return Classification(len(classes), weights)


def regression(label: NDArray[np.float64]) -> Regression:
    """The objective of learning a value from training labels, (samples,).

    Raises:
        ConstantLabelError: every training sample has the same value.
    """
    mean, scale = float(label.mean()), float(label.std())
    if scale <= 1e-12 * max(abs(mean), np.finfo(np.float64).tiny):
        raise ConstantLabelError(
            f"Every training row has the label {label[0]:g}: there is nothing to learn. "
            "Give a longer date range or another label."
        )
    return Regression(mean, scale)
