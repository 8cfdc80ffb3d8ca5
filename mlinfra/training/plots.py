"""Plots that a run keeps as artifacts and that its report shows.

Every function gives a figure of its own and touches no state of matplotlib's, so that trainings in several
threads do not meet.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlinfra.pages.figures import BLUE, GREY, ORANGE, figure_of, figures, plain, time_axis
from mlinfra.training.epochs import Epoch
from mlinfra.training.measures import calibration_bins

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_CURVES = 10
"""Classes of which a curve is drawn each, where there are more than two."""


def confusion_matrix_figure(
    confusion: NDArray[np.int64], classes: Sequence[object], *, title: str
) -> "Figure":
    """A confusion matrix: samples, and their share of the right class.

    Args:
        confusion: samples by right class (row) and predicted class (column), (classes, classes).
        classes: name of each class.
        title: stands above the plot.
    """
    count = len(classes)
    side = max(4.2, 0.9 * count + 1.5)
    figure, axes = figure_of(side + 0.6, side)
    share = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
    names = [plain(name) for name in classes]
    axes.set(
        title=plain(title),
        xlabel="predicted",
        ylabel="true",
        xticks=range(count),
        yticks=range(count),
        xticklabels=names,
        yticklabels=names,
    )
    for row in range(count):
        for column in range(count):
            axes.text(
                column,
                row,
                f"{confusion[row, column]:,}\n{share[row, column]:.0%}",
                ha="center",
                va="center",
                color="white" if share[row, column] > 0.65 else "black",
            )
    return figure


def reliability_figure(probabilities: NDArray[np.float32], label: NDArray[np.int64]) -> "Figure":
    """How often a prediction is right against how sure the model is, in bins of equal width.

    Args:
        probabilities: of each class, (samples, classes).
        label: index of the right class, (samples,).
    """
    counts, confidence, right = calibration_bins(probabilities, label)
    figure, axes = figure_of(4.8, 4.2)
    filled = counts > 0
    width = 1 / len(counts)
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="perfectly calibrated")
    axes.bar(
        (np.flatnonzero(filled) + 0.5) * width,
        counts[filled] / counts.sum(),
        width=0.9 * width,
        color=GREY,
        alpha=0.35,
        label="share of the samples",
    )
    axes.plot(confidence[filled], right[filled], "o-", color=BLUE, markersize=4, label="share that is right")
    axes.set(title="Reliability", xlabel="probability of the predicted class", xlim=(0, 1), ylim=(0, 1.02))
    axes.legend(loc="upper left", fontsize=8)
    return figure


def roc_figure(
    probabilities: NDArray[np.float32], label: NDArray[np.int64], classes: Sequence[object]
) -> "Figure":
    """ROC and precision-recall curve of the higher of two classes, else of each class against the rest.

    Args:
        probabilities: of each class, (samples, classes).
        label: index of the right class, (samples,).
        classes: name of each class.
    """
    from sklearn import metrics

    figure, (roc, precision_recall) = figures(9.0, 4.2, columns=2)
    shown = [1] if len(classes) == 2 else range(min(len(classes), MAX_CURVES))
    for number in shown:
        positive = label == number
        if positive.all() or not positive.any():
            continue
        score = probabilities[:, number]
        false, true, _ = metrics.roc_curve(positive, score)
        precision, recall, _ = metrics.precision_recall_curve(positive, score)
        color = BLUE if len(classes) == 2 else None
        roc.plot(false, true, color=color, label=plain(classes[number]))
        (line,) = precision_recall.plot(recall, precision, color=color, label=plain(classes[number]))
        precision_recall.axhline(positive.mean(), color=line.get_color(), linestyle=":", linewidth=1)
    roc.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1)
    roc.set(title="ROC", xlabel="false positive rate", ylabel="true positive rate")
    precision_recall.set(
        title="Precision and recall (dotted: by chance)", xlabel="recall", ylabel="precision", ylim=(0, 1.02)
    )
    roc.legend(loc="lower right", fontsize=8)
    return figure


def loss_figure(epochs: Sequence[Epoch], best: Epoch) -> "Figure":
    """Training and validation loss, and the primary validation measure, by epoch.

    Args:
        epochs: all, in order.
        best: the one whose weights were kept.
    """
    figure, (losses, measure) = figures(9.0, 3.4, columns=2)
    numbers = [epoch.number for epoch in epochs]
    losses.plot(numbers, [epoch.train_loss for epoch in epochs], color=GREY, label="training")
    losses.plot(numbers, [epoch.val_loss for epoch in epochs], color=BLUE, label="validation")
    losses.set(title="Loss", xlabel="epoch")
    key = next(iter(best.val_metrics))
    measure.plot(numbers, [epoch.val_metrics[key] for epoch in epochs], color=BLUE)
    measure.set(title=f"Validation {key.removeprefix('val_')}", xlabel="epoch")
    for axes in (losses, measure):
        axes.axvline(best.number, color=ORANGE, linestyle=":", label="kept")
        axes.xaxis.get_major_locator().set_params(integer=True)
    losses.legend(fontsize=8)
    return figure


def probability_figure(
    time: NDArray[np.datetime64], probability: NDArray[np.float32], right: NDArray[np.bool_], *, name: object
) -> "Figure":
    """The probability of a class over time, and when it was the right one.

    Args:
        time: of each sample, ascending, (samples,).
        probability: of the class, (samples,).
        right: where the class was right, (samples,).
        name: of the class.
    """
    figure, axes = figure_of(9.0, 3.2)
    axes.fill_between(
        time, 0, 1, where=right.tolist(), step="mid", color=ORANGE, alpha=0.25, linewidth=0, label="true"
    )
    axes.plot(time, probability, color=BLUE, linewidth=0.9, label="predicted probability")
    axes.set(title=f"Probability of {plain(name)} over the test dates", ylim=(0, 1))
    time_axis(figure, axes)
    return figure


def values_figure(
    time: NDArray[np.datetime64], values: NDArray[np.float32], label: NDArray[np.float64], *, name: str
) -> "Figure":
    """Predicted and right values over time, (samples,) each; ``name`` is the label's."""
    figure, axes = figure_of(9.0, 3.2)
    axes.plot(time, label, color=ORANGE, linewidth=0.9, label="true")
    axes.plot(time, values, color=BLUE, linewidth=0.9, label="predicted")
    axes.set(title=f"{plain(name)} over the test dates")
    time_axis(figure, axes)
    return figure


def residuals_figure(values: NDArray[np.float32], label: NDArray[np.float64]) -> "Figure":
    """Predicted against right values, and how the errors are spread, (samples,) each."""
    figure, (scatter, spread) = figures(9.0, 4.0, columns=2)
    low, high = float(min(label.min(), values.min())), float(max(label.max(), values.max()))
    scatter.plot([low, high], [low, high], color=GREY, linestyle="--", linewidth=1)
    scatter.plot(label, values, ".", color=BLUE, markersize=3, alpha=0.5)
    scatter.set(title="Predicted against true", xlabel="true", ylabel="predicted")
    spread.hist(values - label, bins=40, color=BLUE)
    spread.axvline(0, color=GREY, linestyle="--", linewidth=1)
    spread.set(title="Errors (predicted minus true)", ylabel="samples")
    return figure
