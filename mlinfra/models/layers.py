"""Parts that several architectures are made of; none looks at another sample of the batch."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn


def convolutions(
    features: int, channels: Sequence[int], *, kernel_size: int, dropout: float
) -> nn.Sequential:
    """Conv1d, ReLU and dropout for each of ``channels``; reads and gives (batch, channels, window)."""
    layers: list[nn.Module] = []
    for before, after in pairwise([features, *channels]):
        if kernel_size % 2 == 0:
            # Zeros for one more newer row than older ones: torch's own padding warns of such a kernel.
            layers.append(nn.ConstantPad1d((0, 1), 0.0))
        padding = (kernel_size - 1) // 2
        layers += [nn.Conv1d(before, after, kernel_size, padding=padding), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers)


class LastState(nn.Module):
    """An LSTM, of which the newest row's state is kept: (batch, window, features) to (batch, hidden)."""

    def __init__(self, features: int, hidden_size: int, *, layers: int, dropout: float) -> None:
        super().__init__()
        # Between layers only: torch warns of dropout where there is no second one.
        between = dropout if layers > 1 else 0.0
        self.lstm = nn.LSTM(features, hidden_size, layers, batch_first=True, dropout=between)

    def forward(self, rows: Tensor) -> Tensor:
        """The state at the newest row."""
        states, _ = self.lstm(rows)
        last: Tensor = states[:, -1]
        return last


def head(size: int, outputs: int, *, dropout: float) -> nn.Sequential:
    """Dropout and a linear layer: (batch, size) to (batch, outputs)."""
    return nn.Sequential(nn.Dropout(dropout), nn.Linear(size, outputs))
