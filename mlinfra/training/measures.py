"""Measures of predictions against what was right, by name. Pure; each is tested against another source."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

CALIBRATION_BINS = 15
MAPE_FLOOR = 0.01
"""Share of the mean magnitude below which a label is too near to zero for a relative error."""


def class_measures(probabilities: NDArray[np.floating[Any]], label: NDArray[np.int64]) -> dict[str, float]:
    """Measures of class probabilities.

    ============================  ============================================================================
    ``accuracy``                  share of samples whose most probable class is right
    ``balanced_accuracy``         mean, over the classes that occur, of the share that is recognised
    ``precision, recall, f1``     of the higher class where there are two, else the mean over the classes;
                                  0 where a class is never predicted or never occurs
    ``roc_auc``                   area under the ROC curve, of one class against the rest where there are more
                                  than two; absent where not every class occurs
    ``log_loss``                  mean negative log-probability of the right class, in nats
    ``brier``                     mean squared error of the probabilities: of the higher class where there are
                                  two (0 to 1), else summed over the classes (0 to 2)
    ``ece``                       expected calibration error, see `calibration_error`
    ============================  ============================================================================

    Args:
        probabilities: of each class, rows adding up to 1, (samples, classes).
        label: index of the right class, (samples,).
    """
    from sklearn import metrics

    classes = np.arange(probabilities.shape[1])
    predicted = probabilities.argmax(axis=1)
    confusion = confusion_matrix(predicted, label, classes=len(classes))
    occurring = confusion.sum(axis=1) > 0
    recognised = confusion.diagonal()[occurring] / confusion.sum(axis=1)[occurring]
    # 32-bit probabilities add up to 1 only roughly; scikit-learn warns of more than 64-bit rounding.
    exact = probabilities.astype(np.float64)
    exact /= exact.sum(axis=1, keepdims=True)
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        label,
        predicted,
        labels=classes[1:] if len(classes) == 2 else classes,
        average="macro",
        zero_division=0.0,
    )
    measures = {
        "accuracy": float(confusion.trace() / len(label)),
        "balanced_accuracy": float(recognised.mean()),
        "f1": float(f1),
        "precision": float(precision),
        "recall": float(recall),
        "log_loss": float(metrics.log_loss(label, exact, labels=classes)),
        "brier": brier_score(exact, label),
        "ece": calibration_error(exact, label),
    }
    if occurring.all():
        scores = exact[:, 1] if len(classes) == 2 else exact
        measures["roc_auc"] = float(metrics.roc_auc_score(label, scores, multi_class="ovr"))
    return measures


def value_measures(values: NDArray[np.floating[Any]], label: NDArray[np.float64]) -> dict[str, float]:
    """Measures of predicted values.

    ==========  ======================================================================================
    ``mae``     mean absolute error, in the label's unit
    ``rmse``    root of the mean squared error, in the label's unit
    ``bias``    mean of predicted minus right, in the label's unit: above 0 where it predicts too much
    ``r2``      share of the variance that is explained; absent where the label is constant
    ``mape``    mean absolute error relative to the label's magnitude; absent where a label's magnitude
                is below a hundredth of the mean one, since such a label alone would decide
    ==========  ======================================================================================

    Args:
        values: predicted, (samples,).
        label: right, (samples,).
    """
    errors = values.astype(np.float64) - label
    magnitude = np.abs(label)
    measures = {
        "mae": float(np.abs(errors).mean()),
        "rmse": float(np.sqrt(np.square(errors).mean())),
        "bias": float(errors.mean()),
    }
    if np.ptp(label) > 0:
        spread = np.square(label - label.mean()).sum()
        measures["r2"] = float(1.0 - np.square(errors).sum() / spread)
    if magnitude.min() > MAPE_FLOOR * magnitude.mean():
        measures["mape"] = float((np.abs(errors) / magnitude).mean())
    return measures


def confusion_matrix(
    predicted: NDArray[np.int64], label: NDArray[np.int64], *, classes: int
) -> NDArray[np.int64]:
    """Samples by right class (row) and predicted class (column), (classes, classes)."""
    cells = np.bincount(label * classes + predicted, minlength=classes * classes)
    return cells.reshape(classes, classes).astype(np.int64)


def brier_score(probabilities: NDArray[np.float64], label: NDArray[np.int64]) -> float:
    """Mean squared error of probabilities, (samples, classes): halved for two classes, as is usual."""
    right = np.eye(probabilities.shape[1])[label]
    score = float(np.square(probabilities - right).sum(axis=1).mean())
    return score / 2 if probabilities.shape[1] == 2 else score


def calibration_bins(
    probabilities: NDArray[np.floating[Any]], label: NDArray[np.int64], *, bins: int = CALIBRATION_BINS
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Samples by confidence, the probability of the predicted class, in bins of equal width from 0 to 1.

    A bin holds its upper edge and not its lower one, but for the first.

    Returns:
        How many samples each bin has, their mean confidence, and the share that is right, (bins,) each;
        NaN for a bin without samples.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == label
    edges = np.linspace(0.0, 1.0, bins + 1)
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins).astype(np.int64)
    some = np.where(counts > 0, counts, np.nan)
    return (
        counts,
        np.bincount(place, weights=confidence, minlength=bins) / some,
        np.bincount(place, weights=right, minlength=bins) / some,
    )


def calibration_error(probabilities: NDArray[np.floating[Any]], label: NDArray[np.int64]) -> float:
    """Expected calibration error with 15 bins of equal width, of the predicted class.

    The mean over the samples of |share that is right - mean confidence| of their bin, as in Guo, Pleiss,
    Sun and Weinberger, "On Calibration of Modern Neural Networks", ICML 2017, equation 3.
    """
    counts, confidence, right = calibration_bins(probabilities, label)
    filled = counts > 0
    gaps = np.abs(right[filled] - confidence[filled])
    return float((counts[filled] * gaps).sum() / counts.sum())
