"""How good predictions are on rows the network never saw, beside the best constant answer."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Measures on one part of the samples.

    Attributes:
        accuracy: share of samples whose most probable class is right.
        balanced_accuracy: mean over the classes of the share that is recognised.
        f1: F1 of the higher class where there are two, else the mean over the classes.
        log_loss: mean negative log-probability of the right class, in nats.
        roc_auc: area under the ROC curve, of one class against the rest where there are more than two;
            None where not every class occurs.
        baseline_accuracy: accuracy of always answering these samples' most frequent class: the best that
            a constant answer can reach.
        confusion: samples by right class (row) and predicted class (column), (classes, classes).
    """

    accuracy: float
    balanced_accuracy: float
    f1: float
    log_loss: float
    roc_auc: float | None
    baseline_accuracy: float
    confusion: NDArray[np.int64]

    def test_metrics(self) -> dict[str, float]:
        """The measures under the names that gates and registry read."""
        metrics = {
            "test_accuracy": self.accuracy,
            "test_balanced_accuracy": self.balanced_accuracy,
            "test_f1": self.f1,
            "test_log_loss": self.log_loss,
            "baseline_test_accuracy": self.baseline_accuracy,
        }
        if self.roc_auc is not None:
            metrics["test_roc_auc"] = self.roc_auc
        return metrics


def evaluate(probabilities: NDArray[np.float32], label: NDArray[np.int64]) -> Evaluation:
    """Measure predictions.

    Args:
        probabilities: of each class, rows adding up to 1, (samples, classes).
        label: index of the right class, (samples,).
    """
    from sklearn import metrics

    classes = np.arange(probabilities.shape[1])
    predicted = probabilities.argmax(axis=1)
    confusion = metrics.confusion_matrix(label, predicted, labels=classes)
    occurring = confusion.sum(axis=1) > 0
    recognised = confusion.diagonal()[occurring] / confusion.sum(axis=1)[occurring]
    # 32-bit probabilities add up to 1 only roughly; scikit-learn warns of more than 64-bit rounding.
    exact = probabilities.astype(np.float64)
    exact /= exact.sum(axis=1, keepdims=True)
    return Evaluation(
        accuracy=float(metrics.accuracy_score(label, predicted)),
        balanced_accuracy=float(recognised.mean()),
        f1=_f1(label, predicted, classes=classes),
        log_loss=float(metrics.log_loss(label, exact, labels=classes)),
        roc_auc=_roc_auc(label, exact) if occurring.all() else None,
        baseline_accuracy=float(confusion.sum(axis=1).max() / len(label)),
        confusion=confusion,
    )


def _f1(label: NDArray[np.int64], predicted: NDArray[np.int64], *, classes: NDArray[np.int64]) -> float:
    from sklearn import metrics

    if len(classes) == 2:
        return float(metrics.f1_score(label, predicted, zero_division=0.0))
    return float(metrics.f1_score(label, predicted, labels=classes, average="macro", zero_division=0.0))


def _roc_auc(label: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    from sklearn import metrics

    if probabilities.shape[1] == 2:
        return float(metrics.roc_auc_score(label, probabilities[:, 1]))
    return float(metrics.roc_auc_score(label, probabilities, multi_class="ovr"))
