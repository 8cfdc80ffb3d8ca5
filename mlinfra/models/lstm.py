"""An LSTM reads the rows in order, its last state decides."""

from torch import Tensor, nn

from mlinfra.models.architecture import Architecture, ArchitectureConfig, NetworkShape
from mlinfra.models.fields import Dropout, LstmLayers, StateSize
from mlinfra.models.layers import LastState, head


class LstmConfig(ArchitectureConfig):
    """Parameters of ``lstm``."""

    hidden_size: StateSize = 32
    lstm_layers: LstmLayers = 1
    dropout: Dropout = 0.2


class Lstm(nn.Module):
    """LSTM, linear head."""

    def __init__(self, config: LstmConfig, shape: NetworkShape) -> None:
        super().__init__()
        self.last_state = LastState(
            shape.features, config.hidden_size, layers=config.lstm_layers, dropout=config.dropout
        )
        self.head = head(config.hidden_size, shape.outputs, dropout=config.dropout)

    def forward(self, features: Tensor) -> Tensor:
        """Outputs, (batch, outputs), from normalised features, (batch, window, features)."""
        outputs: Tensor = self.head(self.last_state(features))
        return outputs


ARCHITECTURE = Architecture(name="lstm", config=LstmConfig, build=Lstm)
