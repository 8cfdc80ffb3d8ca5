"""The training loop: best epoch kept, patience, the same weights for the same seed."""

import numpy as np
import pytest
import torch

from mlinfra.models.normalized import NormalizedNetwork
from mlinfra.resources.built_in_training import EarlyStopping, TrainingParameters, Validation
from mlinfra.training.errors import TrainingDivergedError
from mlinfra.training.objective import Classification
from mlinfra.training.reproducibility import reproducible
from mlinfra.training.rows import LabelledRows
from mlinfra.training.samples import Samples, make_samples
from mlinfra.training.trainer import Epoch, Fit, Patience, fit, predict

CPU = torch.device("cpu")
OBJECTIVE = Classification(classes=2)


def epoch(number: int, val_loss: float) -> Epoch:
    return Epoch(
        number=number, train_loss=1.0, val_loss=val_loss, val_metrics={"val_accuracy": 0.5}, seconds=0.1
    )


@pytest.mark.parametrize(
    ("losses", "stopping", "best", "stops_after"),
    [
        ([3, 2, 1], EarlyStopping(patience=1), 3, None),
        ([3, 1, 2, 2, 2], EarlyStopping(patience=2), 2, 4),
        ([3, 2.95, 2.9, 2.85], EarlyStopping(patience=2, min_delta=0.1), 3, 3),
        ([3, 2.94, 2.88, 2.82, 2.76], EarlyStopping(patience=2, min_delta=0.1), 5, None),
        ([1, 2, 3, 4], None, 1, None),
        ([1, 1], EarlyStopping(patience=1), 1, 2),
    ],
)
def test_patience(
    losses: list[float], stopping: EarlyStopping | None, best: int, stops_after: int | None
) -> None:
    patience = Patience(stopping)
    stopped = None
    for number, loss in enumerate(losses, start=1):
        patience.is_best(epoch(number, loss))
        if patience.exhausted:
            stopped = number
            break
    assert patience.best is not None
    assert (patience.best.number, stopped) == (best, stops_after)


def separable_samples(count: int = 400) -> Samples:
    """The label is whether the newest value of the first feature is above 50."""
    random = np.random.default_rng(3)
    features = np.stack([random.normal(50, 10, count), random.normal(size=count)], axis=1)
    rows = LabelledRows(
        features=features.astype(np.float32),
        label=(features[:, 0] > 50).astype(np.int64),
        time=np.datetime64("2020-01-01", "ns") + np.arange(count) * np.timedelta64(1, "D"),
        entity=np.zeros(count, dtype=np.int64),
        feature_names=("a", "b"),
        classes=(0, 1),
    )
    return make_samples(rows, Validation(), window=4)


def trained(parameters: TrainingParameters, samples: Samples) -> tuple[Fit, NormalizedNetwork, list[Epoch]]:
    seen: list[Epoch] = []
    with reproducible(parameters.seed):
        layers = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout(0.1), torch.nn.Linear(8, 2))
        network = NormalizedNetwork(
            layers, mean=torch.from_numpy(samples.mean), scale=torch.from_numpy(samples.scale)
        )
        return (
            fit(network, samples, parameters, objective=OBJECTIVE, on_epoch=seen.append, device=CPU),
            network,
            seen,
        )


def test_network_learns_and_every_epoch_is_told() -> None:
    samples = separable_samples()
    fitted, network, seen = trained(TrainingParameters(epochs=12, learning_rate=0.05), samples)
    right = samples.rows.label[samples.test.last_rows]
    probabilities = predict(OBJECTIVE.served(network), samples, samples.test, OBJECTIVE, device=CPU)
    assert (probabilities.argmax(axis=1) == right).mean() > 0.9
    assert seen == list(fitted.epochs)
    assert seen[-1].train_loss < seen[0].train_loss


def test_network_has_the_weights_of_its_best_epoch() -> None:
    samples = separable_samples()
    parameters = TrainingParameters(epochs=40, learning_rate=2.0)
    fitted, network, _ = trained(parameters, samples)
    assert fitted.best.val_loss < fitted.epochs[-1].val_loss
    right = samples.rows.label[samples.validation.last_rows]
    probabilities = predict(OBJECTIVE.served(network), samples, samples.validation, OBJECTIVE, device=CPU)
    assert (probabilities.argmax(axis=1) == right).mean() == pytest.approx(
        fitted.best.val_metrics["val_accuracy"]
    )


def test_same_seed_gives_the_same_losses_and_another_seed_others() -> None:
    samples = separable_samples()

    def losses(seed: int) -> list[float]:
        fitted, _, _ = trained(TrainingParameters(epochs=3, seed=seed), samples)
        return [each.train_loss for each in fitted.epochs]

    assert losses(1) == losses(1)
    assert losses(1) != losses(2)


def test_training_stops_early() -> None:
    parameters = TrainingParameters(epochs=200, learning_rate=0.5, early_stopping=EarlyStopping(patience=3))
    fitted, _, _ = trained(parameters, separable_samples())
    assert fitted.stopped_early
    assert len(fitted.epochs) == fitted.best.number + 3


def test_a_loss_that_is_no_number_is_told_with_a_remedy() -> None:
    parameters = TrainingParameters(epochs=20, learning_rate=10.0, optimizer="SGD", weight_decay=10.0)
    with pytest.raises(TrainingDivergedError, match="Try a learning rate below 10"):
        trained(parameters, separable_samples())
