"""The trainer beside a bare PyTorch loop: ``python -m benchmarks.trainer_overhead [--small]``.

Both train the same network on the same rows, with the same batches in the same order and a validation pass
after each epoch. The loop has every window copied into one tensor beforehand, which does not count; the
trainer makes its batches from the rows, judges each epoch, keeps the best weights and can be stopped.
"""

from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from torch import Tensor, nn

from benchmarks.side_by_side import Comparison, alternate, report
from mlinfra.models import find_architecture
from mlinfra.models.architecture import NetworkShape
from mlinfra.models.normalized import NormalizedNetwork
from mlinfra.resources.built_in_training import TrainingParameters, Validation
from mlinfra.training.objective import Classification
from mlinfra.training.reproducibility import reproducible
from mlinfra.training.rows import LabelledRows
from mlinfra.training.runtime import Runtime, choose_device
from mlinfra.training.samples import Part, Samples, make_samples
from mlinfra.training.trainer import fit

WINDOW = 20
FEATURES = 12
MOST_TIMES_SLOWER = 1.02
CASES = {"hybrid_cnn_lstm": 64, "mlp": 256}
"""Batch size for each network: the first one's own work is long, the second one's is next to nothing."""


def rows(count: int) -> LabelledRows:
    """Random rows whose label follows the first feature."""
    random = np.random.default_rng(0)
    features = random.normal(size=(count, FEATURES)).astype(np.float32)
    return LabelledRows(
        features=features,
        label=(features[:, 0] + random.normal(scale=0.5, size=count) > 0).astype(np.int64),
        time=np.datetime64("2000-01-01", "ns") + np.arange(count) * np.timedelta64(1, "h"),
        entity=np.zeros(count, dtype=np.int64),
        feature_names=tuple(f"f{number}" for number in range(FEATURES)),
        classes=(0, 1),
    )


def new_network(architecture: str, samples: Samples) -> NormalizedNetwork:
    """A network with random weights from torch's generator."""
    found = find_architecture(architecture)
    return NormalizedNetwork(
        found.network(found.configure({}), NetworkShape(WINDOW, FEATURES, outputs=2)),
        mean=torch.from_numpy(samples.mean),
        scale=torch.from_numpy(samples.scale),
    )


class BareLoop:
    """What one would write by hand."""

    def __init__(
        self, architecture: str, samples: Samples, parameters: TrainingParameters, device: torch.device
    ) -> None:
        self._architecture, self._samples, self._parameters = architecture, samples, parameters
        self._device = device
        self._train = self._tensors(samples.train)
        self._validation = self._tensors(samples.validation)

    def __call__(self) -> float:
        """Train anew; gives the last epoch's validation loss."""
        parameters, (inputs, targets) = self._parameters, self._train
        with reproducible(parameters.seed):
            network = new_network(self._architecture, self._samples).to(self._device)
            optimizer = torch.optim.AdamW(
                network.parameters(), lr=parameters.learning_rate, weight_decay=parameters.weight_decay
            )
            shuffle = torch.Generator().manual_seed(parameters.seed)
            validation_loss = 0.0
            for _ in range(parameters.epochs):
                network.train()
                total = 0.0
                order = torch.randperm(len(inputs), generator=shuffle).to(self._device)
                for batch in torch.split(order, parameters.batch_size):
                    optimizer.zero_grad()
                    loss = nn.functional.cross_entropy(network(inputs[batch]), targets[batch])
                    loss.backward()  # type: ignore[no-untyped-call]
                    optimizer.step()
                    total += loss.item() * len(batch)
                network.eval()
                with torch.inference_mode():
                    outputs = torch.cat([network(part) for part in torch.split(self._validation[0], 4096)])
                    validation_loss = nn.functional.cross_entropy(outputs, self._validation[1]).item()
        return validation_loss

    def _tensors(self, part: Part) -> tuple[Tensor, Tensor]:
        inputs = torch.from_numpy(self._samples.windows(part.last_rows)).to(self._device)
        return inputs, torch.from_numpy(self._samples.rows.label[part.last_rows]).to(self._device)


class OurTrainer:
    """The trainer, as a training calls it for a fold."""

    def __init__(
        self, architecture: str, samples: Samples, parameters: TrainingParameters, device: torch.device
    ) -> None:
        self._architecture, self._samples, self._parameters = architecture, samples, parameters
        self._device = device

    def __call__(self) -> float:
        """Train anew; gives the last epoch's validation loss."""
        with reproducible(self._parameters.seed):
            fitted = fit(
                new_network(self._architecture, self._samples),
                self._samples,
                self._parameters,
                objective=Classification(classes=2),
                on_epoch=lambda _: None,
                runtime=Runtime(self._device),
            )
        return fitted.epochs[-1].val_loss


def main(
    small: Annotated[bool, typer.Option(help="On few rows: whether it runs, not how fast.")] = False,
) -> None:
    """Measure on this machine; leave it alone meanwhile."""
    device = choose_device()
    samples = make_samples(rows(2_000 if small else 20_000), Validation(), window=WINDOW)
    comparisons = []
    for architecture, batch_size in CASES.items():
        parameters = TrainingParameters(
            epochs=1 if small else 3, batch_size=batch_size, learning_rate=0.001, precision="FP32"
        )
        ours = OurTrainer(architecture, samples, parameters, device)
        bare = BareLoop(architecture, samples, parameters, device)
        ours_loss, bare_loss = ours(), bare()
        if not np.isclose(ours_loss, bare_loss, rtol=0, atol=1e-6):
            raise SystemExit(f"{architecture}: the losses differ: {ours_loss} and {bare_loss}")
        timings = alternate(
            {"trainer": ours, "bare PyTorch loop": bare}, rounds=2 if small else 9, warm_up_rounds=1
        )
        work = f"{architecture}, {len(samples.train.last_rows):,} windows, batches of {batch_size}, {device}"
        comparisons.append(
            Comparison(work, timings["trainer"], timings["bare PyTorch loop"], at_most=MOST_TIMES_SLOWER)
        )
    raise typer.Exit(report(Console(), "Training", comparisons, packages=["torch"]))


if __name__ == "__main__":
    typer.run(main)
