"""The training loop: best epoch kept, early stop, clipping, precision, the same weights for the same seed."""

import numpy as np
import pytest
import torch

from mlinfra.models.normalized import NormalizedNetwork
from mlinfra.resources.built_in_training import EarlyStopping, TrainingParameters, Validation
from mlinfra.training.epochs import Epoch, Fit
from mlinfra.training.errors import TrainingDivergedError, UnknownMetricError, UnsupportedPrecisionError
from mlinfra.training.objective import Classification
from mlinfra.training.reproducibility import reproducible
from mlinfra.training.rows import LabelledRows
from mlinfra.training.runtime import Runtime
from mlinfra.training.samples import Samples, make_samples
from mlinfra.training.trainer import fit, predict

CPU = torch.device("cpu")
OBJECTIVE = Classification(classes=2)


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
            fit(
                network, samples, parameters, objective=OBJECTIVE, on_epoch=seen.append, runtime=Runtime(CPU)
            ),
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


def test_the_metric_of_early_stopping_chooses_the_epoch() -> None:
    stopping = EarlyStopping(patience=40, metric="val_accuracy")
    fitted, _, _ = trained(
        TrainingParameters(epochs=20, learning_rate=0.5, early_stopping=stopping), separable_samples()
    )
    best = max(epoch.val_metrics["val_accuracy"] for epoch in fitted.epochs)
    assert fitted.best.val_metrics["val_accuracy"] == best


def test_a_metric_that_is_not_measured_is_refused_before_anything_is_trained() -> None:
    stopping = EarlyStopping(metric="val_acuracy")
    with pytest.raises(UnknownMetricError, match="did you mean val_accuracy"):
        trained(TrainingParameters(early_stopping=stopping), separable_samples())


def test_gradients_are_clipped_together() -> None:
    """A step of plain SGD with rate 1 is the gradient itself."""
    samples = separable_samples()
    parameters = TrainingParameters(
        epochs=1, batch_size=100_000, optimizer="SGD", learning_rate=1.0, gradient_clip_norm=0.01
    )

    def weights(epochs: int) -> torch.Tensor:
        changed = parameters.model_copy(update={"epochs": epochs})
        _, network, _ = trained(changed, samples)
        return torch.cat([weight.detach().flatten() for weight in network.parameters()])

    with reproducible(parameters.seed):
        layers = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout(0.1), torch.nn.Linear(8, 2))
    before = torch.cat([weight.detach().flatten() for weight in layers.parameters()])
    assert torch.linalg.vector_norm(weights(1) - before).item() == pytest.approx(0.01, rel=1e-3)


def test_bf16_learns_and_keeps_32_bit_weights() -> None:
    samples = separable_samples()
    fitted, network, _ = trained(TrainingParameters(epochs=12, learning_rate=0.05, precision="BF16"), samples)
    exact, _, _ = trained(TrainingParameters(epochs=12, learning_rate=0.05, precision="FP32"), samples)
    assert {weight.dtype for weight in network.parameters()} == {torch.float32}
    assert fitted.best.val_metrics["val_accuracy"] > 0.85
    assert fitted.epochs[0].train_loss != exact.epochs[0].train_loss
    assert fitted.epochs[0].train_loss == pytest.approx(exact.epochs[0].train_loss, rel=0.05)


def test_fp16_on_the_cpu_is_refused() -> None:
    with pytest.raises(UnsupportedPrecisionError, match="FP16 needs a GPU"):
        trained(TrainingParameters(precision="FP16"), separable_samples())
