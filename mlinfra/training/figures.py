"""Which plots there are of a training's test part."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlinfra.training import plots
from mlinfra.training.config import TrainingConfig
from mlinfra.training.epochs import Fit
from mlinfra.training.measures import confusion_matrix
from mlinfra.training.samples import Samples

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def training_figures(
    predictions: NDArray[np.float32], config: TrainingConfig, samples: Samples, fitted: Fit
) -> dict[str, "Figure"]:
    """Figures by name, in the order of the report; what is not defined for these samples is left out.

    Args:
        predictions: what the served form answers for the test part, (samples, outputs).
        config: whether classes or a value were learnt.
        samples: the test part is shown.
        fitted: the epochs.
    """
    losses = plots.loss_figure(fitted.epochs, fitted.best)
    if config.data.task == "Regression":
        shown = _value_figures(predictions[:, 0], config, samples)
    else:
        shown = _class_figures(predictions, config, samples)
    return {**shown, "loss": losses}


def _class_figures(
    probabilities: NDArray[np.float32], config: TrainingConfig, samples: Samples
) -> dict[str, "Figure"]:
    classes = samples.rows.classes
    label = samples.rows.label[samples.test.last_rows]
    figures = {
        "confusion_matrix": plots.confusion_matrix_figure(
            confusion_matrix(probabilities.argmax(axis=1), label, classes=len(classes)),
            classes,
            title=f"{config.data.label}, {samples.test.period.replace('/', ' to ')}",
        )
    }
    if len(classes) == 2:
        time, chosen = one_entity(samples)
        figures["probability"] = plots.probability_figure(
            time, probabilities[chosen, 1], label[chosen] == 1, name=f"{config.data.label} = {classes[1]}"
        )
    if len(np.unique(label)) > 1:
        figures["roc"] = plots.roc_figure(probabilities, label, classes)
    return figures | {"reliability": plots.reliability_figure(probabilities, label)}


def _value_figures(
    values: NDArray[np.float32], config: TrainingConfig, samples: Samples
) -> dict[str, "Figure"]:
    label = samples.rows.label[samples.test.last_rows]
    time, chosen = one_entity(samples)
    return {
        "values": plots.values_figure(time, values[chosen], label[chosen], name=config.data.label),
        "residuals": plots.residuals_figure(values, label),
    }


def one_entity(samples: Samples) -> tuple[NDArray[np.datetime64], NDArray[np.int64]]:
    """Times and positions of the test samples of the entity that has most of them, in order of time."""
    rows = samples.test.last_rows
    entity = samples.rows.entity[rows]
    chosen = np.flatnonzero(entity == np.bincount(entity).argmax())
    return samples.rows.time[rows[chosen]], chosen
