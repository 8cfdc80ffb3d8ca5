"""Measures of a classifier from its counts, each with its standard error. Pure.

The measures have the names and meanings of `mlinfra.training.measures.class_measures` and are equal to it,
but for ``roc_auc``, which knows probabilities by bin; how far that may move it is told with it.
"""

import numpy as np
from numpy.typing import NDArray

from mlinfra.monitoring.class_tally import ClassTally
from mlinfra.monitoring.measured import Measured
from mlinfra.monitoring.ranking import ranking_area

Cells = NDArray[np.float64]


def class_performance(tally: ClassTally) -> dict[str, Measured]:
    """Measures of at least one answer, by name; empty where there is none.

    Standard errors of what follows from the confusion matrix are those of the delta method for a
    multinomial sample, with one more observation a class spread evenly over its cells, so that a small
    window in which all was right does not look certain.
    """
    if tally.rows == 0:
        return {}
    confusion = tally.confusion / tally.one
    classes = len(confusion)
    own = [1] if classes == 2 else list(range(classes))
    smoothed = confusion + 1.0 / classes
    measures = {
        "accuracy": (_share_right(confusion), _accuracy_influence(smoothed)),
        "balanced_accuracy": _over(_recall(confusion), _occurring(confusion), _recall_influence(smoothed)),
        "precision": _over(_precision(confusion), own, _precision_influence(smoothed)),
        "recall": _over(_recall(confusion), own, _recall_influence(smoothed)),
        "f1": _over(_f1(confusion), own, _f1_influence(smoothed)),
    }
    result = {
        name: Measured(value, _delta_error(smoothed, influence))
        for name, (value, influence) in measures.items()
    }
    for name, moments in (("log_loss", tally.log_loss), ("brier", tally.brier)):
        error = np.sqrt(moments.variance(tally.rows) / tally.rows)
        result[name] = Measured(moments.mean(tally.rows), float(error))
    area = _roc_auc(tally)
    return result if area is None else result | {"roc_auc": area}


def _over(values: Cells, classes: list[int], influence: Cells) -> tuple[float, Cells]:
    """Mean over some classes, and what one more answer in each cell does to it, (classes, classes)."""
    return float(values[classes].mean()), influence[classes].mean(axis=0)


def _occurring(confusion: Cells) -> list[int]:
    return np.flatnonzero(confusion.sum(axis=1) > 0).tolist()


def _ratio(part: Cells, whole: Cells) -> Cells:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _share_right(confusion: Cells) -> float:
    return float(confusion.trace() / confusion.sum())


def _precision(confusion: Cells) -> Cells:
    return _ratio(confusion.diagonal(), confusion.sum(axis=0))


def _recall(confusion: Cells) -> Cells:
    return _ratio(confusion.diagonal(), confusion.sum(axis=1))


def _f1(confusion: Cells) -> Cells:
    return _ratio(2 * confusion.diagonal(), confusion.sum(axis=0) + confusion.sum(axis=1))


def _accuracy_influence(confusion: Cells) -> Cells:
    influence: Cells = (np.eye(len(confusion)) - _share_right(confusion)) / confusion.sum()
    return influence


# A measure of class k is a ratio N/D of sums of cells: one more answer in a cell changes it by
# (dN - measure * dD) / D. The results are (class, right, predicted).


def _precision_influence(confusion: Cells) -> Cells:
    column = np.zeros((len(confusion),) * 3)
    for each, share in enumerate(_precision(confusion)):
        column[each, :, each] = -share
        column[each, each, each] += 1.0
    column /= confusion.sum(axis=0)[:, None, None]
    return column


def _recall_influence(confusion: Cells) -> Cells:
    return _precision_influence(confusion.T).transpose(0, 2, 1)


def _f1_influence(confusion: Cells) -> Cells:
    cells = np.zeros((len(confusion),) * 3)
    for each, share in enumerate(_f1(confusion)):
        cells[each, :, each] -= share
        cells[each, each, :] -= share
        cells[each, each, each] += 2.0
    cells /= (confusion.sum(axis=0) + confusion.sum(axis=1))[:, None, None]
    return cells


def _delta_error(confusion: Cells, influence: Cells) -> float:
    return float(np.sqrt((confusion * np.square(influence)).sum()))


def _roc_auc(tally: ClassTally) -> Measured | None:
    """The area, or the mean of each class's against the rest; None where not every class occurs."""
    areas = [ranking_area(*(scores / tally.one)) for scores in tally.scores]
    found = [area for area in areas if area is not None]
    if len(found) < len(areas):
        return None
    # The areas of several classes rest on the same rows: their errors are taken to go together.
    return Measured(
        value=float(np.mean([area.value for area in found])),
        error=float(np.mean([area.error for area in found])),
        resolution=float(np.mean([area.resolution for area in found])),
    )
