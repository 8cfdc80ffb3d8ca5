"""Normalisation as part of the network, so that training and serving cannot disagree."""

import torch
from torch import Tensor, nn


class NormalizedNetwork(nn.Module):
    """Brings raw features to mean 0 and standard deviation 1, then applies a network.

    Args:
        network: reads normalised features, (batch, window, features); gives (batch, outputs).
        mean: mean of each raw feature over the training rows, (features,).
        scale: their standard deviation, above 0, (features,).
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, network: nn.Module, *, mean: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)

    def forward(self, features: Tensor) -> Tensor:
        """Outputs, (batch, outputs), from raw features, (batch, window, features)."""
        outputs: Tensor = self.network((features - self.mean) / self.scale)
        return outputs


class Classifier(nn.Module):
    """The served form of a network: raw features in, the probability of each class out."""

    def __init__(self, network: NormalizedNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, features: Tensor) -> Tensor:
        """Probabilities, (batch, classes), from raw features, (batch, window, features)."""
        return torch.softmax(self.network(features), dim=1)


class Regressor(nn.Module):
    """The served form of a network that learnt a normalised label: raw features in, the label's unit out.

    Args:
        network: gives the normalised label, (batch, 1).
        mean: mean of the label over the training samples, a scalar.
        scale: their standard deviation, above 0, a scalar.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, network: NormalizedNetwork, *, mean: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)

    def forward(self, features: Tensor) -> Tensor:
        """Values, (batch, 1), from raw features, (batch, window, features)."""
        normalised: Tensor = self.network(features)
        return normalised * self.scale + self.mean
