"""Every plot is drawn for every kind of result, also where little is defined."""

import io

import numpy as np
import pytest

from mlinfra.resources.built_in_training import TrainingData, Validation
from mlinfra.training.config import TrainingConfig
from mlinfra.training.epochs import Epoch, Fit
from mlinfra.training.figures import one_entity, training_figures
from mlinfra.training.rows import LabelledRows
from mlinfra.training.samples import Samples, make_samples


def samples_of(label: np.ndarray, classes: tuple[object, ...], *, entities: int = 1) -> Samples:
    count = len(label) // entities
    rows = LabelledRows(
        features=np.random.default_rng(0).normal(size=(len(label), 2)).astype(np.float32),
        label=label,
        time=np.datetime64("2020-01-01", "ns") + np.tile(np.arange(count), entities) * np.timedelta64(1, "D"),
        entity=np.repeat(np.arange(entities), count),
        feature_names=("a", "b"),
        classes=classes,
    )
    return make_samples(rows, Validation(), window=3)


def fit_of(name: str, epochs: int = 3) -> Fit:
    all_epochs = tuple(
        Epoch(number, 1 / number, 2 / number, {name: 0.5}, 0.1) for number in range(1, epochs + 1)
    )
    return Fit(all_epochs, all_epochs[-1], stopped_early=False)


def drawn(samples: Samples, predictions: np.ndarray, task: str, fitted: Fit) -> set[str]:
    config = TrainingConfig(data=TrainingData(feature_group="g", label="100 $ <b>up</b> $", task=task))
    figures = training_figures(predictions.astype(np.float32), config, samples, fitted)
    for figure in figures.values():
        content = io.BytesIO()
        figure.savefig(content, format="svg")
        assert b"<svg" in content.getvalue()
        assert b"<b>" not in content.getvalue()
    return set(figures)


COMMON = {"confusion_matrix", "reliability", "loss"}


@pytest.mark.parametrize(
    ("label", "classes", "expected"),
    [
        (np.arange(100) % 2, (0, 1), COMMON | {"probability", "roc"}),
        (np.arange(100) % 3, ("a", "b & <i>", "$"), COMMON | {"roc"}),
        (np.where(np.arange(100) < 70, np.arange(100) % 2, 1), (0, 1), COMMON | {"probability"}),
    ],
)
def test_plots_of_classes(label: np.ndarray, classes: tuple[object, ...], expected: set[str]) -> None:
    samples = samples_of(label, classes)
    predictions = np.random.default_rng(0).dirichlet(np.ones(len(classes)), len(samples.test.last_rows))
    assert drawn(samples, predictions, "Classification", fit_of("val_accuracy")) == expected


def test_plots_of_values() -> None:
    samples = samples_of(np.linspace(-5, 5, 100), ())
    predictions = np.zeros((len(samples.test.last_rows), 1))
    assert drawn(samples, predictions, "Regression", fit_of("val_mae", 1)) == {"values", "residuals", "loss"}


def test_one_entity_is_shown_over_time() -> None:
    samples = samples_of(np.arange(200) % 2, (0, 1), entities=2)
    time, chosen = one_entity(samples)
    assert len(set(samples.rows.entity[samples.test.last_rows[chosen]])) == 1
    assert (np.diff(time) > np.timedelta64(0)).all()
