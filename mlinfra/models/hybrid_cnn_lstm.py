"""Convolutions over time find short patterns, an LSTM reads them in order, its last state decides."""

from torch import Tensor, nn

from mlinfra.models.architecture import Architecture, ArchitectureConfig, NetworkShape
from mlinfra.models.fields import ConvChannels, Dropout, KernelSize, LstmLayers, StateSize
from mlinfra.models.layers import LastState, convolutions, head


class HybridCnnLstmConfig(ArchitectureConfig):
    """Parameters of ``hybrid_cnn_lstm``."""

    conv_channels: ConvChannels = [32, 32]  # noqa: RUF012 pydantic copies a field's default
    kernel_size: KernelSize = 3
    hidden_size: StateSize = 32
    lstm_layers: LstmLayers = 1
    dropout: Dropout = 0.2


class HybridCnnLstm(nn.Module):
    """Conv1d stack, LSTM, linear head."""

    def __init__(self, config: HybridCnnLstmConfig, shape: NetworkShape) -> None:
        super().__init__()
        self.convolutions = convolutions(
            shape.features, config.conv_channels, kernel_size=config.kernel_size, dropout=config.dropout
        )
        self.last_state = LastState(
            config.conv_channels[-1], config.hidden_size, layers=config.lstm_layers, dropout=config.dropout
        )
        self.head = head(config.hidden_size, shape.outputs, dropout=config.dropout)

    def forward(self, features: Tensor) -> Tensor:
        """Outputs, (batch, outputs), from normalised features, (batch, window, features)."""
        patterns = self.convolutions(features.transpose(1, 2)).transpose(1, 2)
        outputs: Tensor = self.head(self.last_state(patterns))
        return outputs


ARCHITECTURE = Architecture(name="hybrid_cnn_lstm", config=HybridCnnLstmConfig, build=HybridCnnLstm)
