"""Convolutions over time find short patterns, an LSTM reads them in order, its last state decides."""

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from mlinfra.models.architecture import Architecture, ArchitectureConfig, NetworkShape
from mlinfra.resources.base import Integer

Channels = Annotated[Integer, Field(ge=1, le=4096)]


class HybridCnnLstmConfig(ArchitectureConfig):
    """Parameters of ``hybrid_cnn_lstm``."""

    conv_channels: Annotated[
        list[Channels],
        Field(min_length=1, max_length=16, description="Output channels of each convolution, first to last."),
    ] = [32, 32]  # noqa: RUF012 pydantic copies a field's default
    kernel_size: Annotated[
        Integer, Field(ge=1, le=101, description="Rows that a convolution sees at a time.")
    ] = 3
    hidden_size: Annotated[Integer, Field(ge=1, le=4096, description="Size of the LSTM's state.")] = 32
    lstm_layers: Annotated[Integer, Field(ge=1, le=8, description="LSTM layers on top of each other.")] = 1
    dropout: Annotated[float, Field(ge=0, lt=1, description="Share of activations dropped in training.")] = (
        0.2
    )


class HybridCnnLstm(nn.Module):
    """Conv1d stack, LSTM, linear head."""

    def __init__(self, config: HybridCnnLstmConfig, shape: NetworkShape) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = shape.features
        for out_channels in config.conv_channels:
            layers += [
                nn.Conv1d(channels, out_channels, config.kernel_size, padding="same"),
                nn.ReLU(),
                nn.Dropout(config.dropout),
            ]
            channels = out_channels
        self.convolutions = nn.Sequential(*layers)
        self.lstm = nn.LSTM(
            channels,
            config.hidden_size,
            config.lstm_layers,
            batch_first=True,
            dropout=config.dropout if config.lstm_layers > 1 else 0.0,
        )
        self.head = nn.Sequential(nn.Dropout(config.dropout), nn.Linear(config.hidden_size, shape.outputs))

    def forward(self, features: Tensor) -> Tensor:
        """Logits, (batch, outputs), from normalised features, (batch, window, features)."""
        patterns = self.convolutions(features.transpose(1, 2)).transpose(1, 2)
        states, _ = self.lstm(patterns)
        logits: Tensor = self.head(states[:, -1])
        return logits


def build(config: HybridCnnLstmConfig, shape: NetworkShape) -> nn.Module:
    """A network with random weights from torch's generator."""
    return HybridCnnLstm(config, shape)


ARCHITECTURE = Architecture(name="hybrid_cnn_lstm", config=HybridCnnLstmConfig, build=build)
