"""Fully connected layers see every value of the window at once."""

from itertools import pairwise
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from mlinfra.models.architecture import Architecture, ArchitectureConfig, NetworkShape
from mlinfra.models.fields import Dropout, Width
from mlinfra.models.layers import head


class MlpConfig(ArchitectureConfig):
    """Parameters of ``mlp``."""

    hidden_sizes: Annotated[
        list[Width],
        Field(min_length=1, max_length=16, description="Size of each hidden layer, first to last."),
    ] = [64, 32]  # noqa: RUF012 pydantic copies a field's default
    dropout: Dropout = 0.2


class Mlp(nn.Module):
    """Linear layers with ReLU, linear head."""

    def __init__(self, config: MlpConfig, shape: NetworkShape) -> None:
        super().__init__()
        sizes = [shape.window * shape.features, *config.hidden_sizes]
        layers: list[nn.Module] = [nn.Flatten()]
        for before, after in pairwise(sizes):
            layers += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(config.dropout)]
        self.layers = nn.Sequential(*layers[:-1])
        self.head = head(sizes[-1], shape.outputs, dropout=config.dropout)

    def forward(self, features: Tensor) -> Tensor:
        """Outputs, (batch, outputs), from normalised features, (batch, window, features)."""
        outputs: Tensor = self.head(self.layers(features))
        return outputs


ARCHITECTURE = Architecture(name="mlp", config=MlpConfig, build=Mlp)
