"""Plots that a run keeps as artifacts."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def confusion_matrix_figure(
    confusion: NDArray[np.int64], classes: Sequence[object], *, title: str
) -> "Figure":
    """A confusion matrix: samples, and their share of the right class.

    Args:
        confusion: samples by right class (row) and predicted class (column), (classes, classes).
        classes: name of each class.
        title: stands above the plot.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    count = len(classes)
    side = max(4.2, 0.9 * count + 1.5)
    figure = Figure(figsize=(side + 0.6, side), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    share = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
    names = [str(name) for name in classes]
    axes.set(
        title=title,
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
