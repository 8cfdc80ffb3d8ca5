"""Convolutions over time find short patterns; how strong each is at most and on average decides."""

import torch
from torch import Tensor, nn

from mlinfra.models.architecture import Architecture, ArchitectureConfig, NetworkShape
from mlinfra.models.fields import ConvChannels, Dropout, KernelSize
from mlinfra.models.layers import convolutions, head


class CnnConfig(ArchitectureConfig):
    """Parameters of ``cnn``."""

    conv_channels: ConvChannels = [32, 32]  # noqa: RUF012 pydantic copies a field's default
    kernel_size: KernelSize = 3
    dropout: Dropout = 0.2


class Cnn(nn.Module):
    """Conv1d stack, maximum, mean and newest row over time, linear head."""

    def __init__(self, config: CnnConfig, shape: NetworkShape) -> None:
        super().__init__()
        self.convolutions = convolutions(
            shape.features, config.conv_channels, kernel_size=config.kernel_size, dropout=config.dropout
        )
        self.head = head(3 * config.conv_channels[-1], shape.outputs, dropout=config.dropout)

    def forward(self, features: Tensor) -> Tensor:
        """Outputs, (batch, outputs), from normalised features, (batch, window, features)."""
        patterns = self.convolutions(features.transpose(1, 2))
        # Reductions, not adaptive pooling: its gradient on a GPU is not deterministic.
        pooled = torch.cat([patterns.amax(dim=2), patterns.mean(dim=2), patterns[:, :, -1]], dim=1)
        outputs: Tensor = self.head(pooled)
        return outputs


ARCHITECTURE = Architecture(name="cnn", config=CnnConfig, build=Cnn)
