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
from mlinfra.resources.built_in_training import ClassWeights, Task
from mlinfra.training.config import InvalidConfigError
from mlinfra.training.errors import ConstantLabelError, SingleClassLabelError
from mlinfra.training.measures import class_measures, value_measures
from mlinfra.training.rows import LabelledRows
from mlinfra.training.samples import Part


@dataclass(frozen=True, slots=True)
class PrimaryMetric:
    """The measure that a model is judged by.

    Attributes:
        name: without the part's prefix, such as ``accuracy`` of ``val_accuracy`` and ``test_accuracy``.
        higher_is_better: whether a greater value is a better model.
    """

    name: str
    higher_is_better: bool

    def is_better(self, value: float, other: float) -> bool:
        """Whether ``value`` is strictly better than ``other``."""
        return value > other if self.higher_is_better else value < other


class Objective(ABC):
    """What a network learns.

    Attributes:
        primary: the measure that a model is judged by.
        output_name: name of the served form's output.
        baseline_measures: the measures that mean something for an answer without learning.
    """

    primary: ClassVar[PrimaryMetric]
    output_name: ClassVar[str]
    baseline_measures: ClassVar[frozenset[str]]

    @property
    @abstractmethod
    def outputs(self) -> int:
        """How many numbers the network gives for a sample."""

    @property
    @abstractmethod
    def unit(self) -> float:
        """What counts as a difference of 1 between answers: 1 for probabilities, else the label's spread."""

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

    @abstractmethod
    def measures(self, predictions: NDArray[np.floating[Any]], label: NDArray[Any]) -> dict[str, float]:
        """Measures of predictions, by name; see `mlinfra.training.measures`.

        Args:
            predictions: what the served form answers, (samples, outputs).
            label: of the same rows, (samples,).
        """

    @abstractmethod
    def baseline_answers(
        self, label: NDArray[Any], *, last_known: NDArray[Any], where_known: NDArray[np.bool_]
    ) -> dict[str, NDArray[np.float64]]:
        """Answers that need no learning, in the served form, by name; ``baseline`` is the one to beat.

        Args:
            label: of the samples, (samples,).
            last_known: the newest label known at each sample, (samples,).
            where_known: where there is one, (samples,).
        """


class Classification(Objective):
    """Which class a sample is of: cross-entropy, served as the probability of each class.

    Args:
        classes: how many classes there are.
        weights: what a sample of each class counts, (classes,); 1 each where absent. With a mean of 1
            over the training samples the loss keeps its size.
    """

    primary = PrimaryMetric("accuracy", higher_is_better=True)
    output_name = "probabilities"
    baseline_measures = frozenset({"accuracy", "balanced_accuracy", "f1"})

    def __init__(self, classes: int, weights: NDArray[np.float32] | None = None) -> None:
        self._classes = classes
        self._weights = None if weights is None else torch.from_numpy(weights)

    @property
    def outputs(self) -> int:
        """One logit a class."""
        return self._classes

    @property
    def unit(self) -> float:
        """1, the range of a probability."""
        return 1.0

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

    def measures(self, predictions: NDArray[np.floating[Any]], label: NDArray[Any]) -> dict[str, float]:
        """Accuracy, F1, calibration and others of probabilities, (samples, classes)."""
        return class_measures(predictions, label)

    def baseline_answers(
        self, label: NDArray[Any], *, last_known: NDArray[Any], where_known: NDArray[np.bool_]
    ) -> dict[str, NDArray[np.float64]]:
        """These samples' most frequent class, and the last known one (else the most frequent)."""
        majority = np.full(len(label), np.bincount(label).argmax())
        certain = np.eye(self._classes)
        return {
            "baseline": certain[majority],
            "last_value": certain[np.where(where_known, last_known, majority)],
        }


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
    baseline_measures = frozenset({"mae", "rmse", "r2"})

    def __init__(self, mean: float, scale: float) -> None:
        self._mean = mean
        self._scale = scale

    @property
    def outputs(self) -> int:
        """One."""
        return 1

    @property
    def unit(self) -> float:
        """The standard deviation of the label over the training samples."""
        return self._scale

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

    def measures(self, predictions: NDArray[np.floating[Any]], label: NDArray[Any]) -> dict[str, float]:
        """Errors of values, (samples, 1), in the label's unit."""
        return value_measures(predictions[:, 0], label)

    def baseline_answers(
        self, label: NDArray[Any], *, last_known: NDArray[Any], where_known: NDArray[np.bool_]
    ) -> dict[str, NDArray[np.float64]]:
        """The last known value (else the mean), and the mean over the training samples."""
        last = np.where(where_known, last_known, self._mean)
        return {"baseline": last[:, None], "mean": np.full((len(label), 1), self._mean)}


def objective_for(
    rows: LabelledRows, part: Part, *, task: Task, class_weights: ClassWeights = "None"
) -> Objective:
    """The objective of learning the label of a training part.

    Raises:
        SingleClassLabelError: the training samples hold one class only.
        ConstantLabelError: every training sample has the same value.
        InvalidConfigError: class weights are given for a value.
    """
    label = rows.label[part.last_rows]
    if task == "Regression":
        if class_weights != "None":
            raise InvalidConfigError(
                "classWeights weigh classes, and the task is Regression: leave them out, or give the task "
                "Classification."
            )
        return regression(label, period=part.period)
    return classification(label, rows.classes, balanced=class_weights == "Balanced", period=part.period)


def classification(
    label: NDArray[np.int64], classes: Sequence[object], *, balanced: bool, period: str
) -> Classification:
    """The objective of learning ``classes`` from training labels.

    Args:
        label: class index of each training sample, (samples,).
        classes: value of each class.
        balanced: whether every class counts the same in the loss, however rare it is.
        period: first and last date of the samples, for the message.

    Raises:
        SingleClassLabelError: the training samples hold one class only.
    """
    occurring, counts = np.unique(label, return_counts=True)
    if len(occurring) < 2:
        raise SingleClassLabelError(
            f"Every training row ({period}) has the label {classes[occurring[0]]!r}: there is nothing to "
            "tell apart. Give a longer date range."
        )
    if not balanced:
        return Classification(len(classes))
    # A class that no training sample has keeps the weight 1.
    weights = np.ones(len(classes), dtype=np.float32)
    weights[occurring] = len(label) / (len(occurring) * counts)
    return Classification(len(classes), weights)


def regression(label: NDArray[np.float64], *, period: str) -> Regression:
    """The objective of learning a value from training labels, (samples,), of a period of dates.

    Raises:
        ConstantLabelError: every training sample has the same value.
    """
    mean, scale = float(label.mean()), float(label.std())
    if scale <= 1e-12 * max(abs(mean), np.finfo(np.float64).tiny):
        raise ConstantLabelError(
            f"Every training row ({period}) has the label {label[0]:g}: there is nothing to learn. "
            "Give a longer date range or another label."
        )
    return Regression(mean, scale)
