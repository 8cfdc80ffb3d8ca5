"""Attention over the rows of the window: each row looks at older ones, the newest row decides."""

import math
from typing import Annotated

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from mlinfra.models.architecture import Architecture, ArchitectureConfig, NetworkShape
from mlinfra.models.fields import Dropout
from mlinfra.models.layers import head
from mlinfra.resources.base import Integer

LONGEST_PERIOD = 10_000.0


class TransformerConfig(ArchitectureConfig):
    """Parameters of ``transformer``."""

    model_size: Annotated[
        Integer,
        Field(ge=2, le=4096, multiple_of=2, description="Size of a row inside the network, an even number."),
    ] = 32
    heads: Annotated[
        Integer, Field(ge=1, le=64, description="Attention heads of a layer; they share modelSize evenly.")
    ] = 4
    layers: Annotated[Integer, Field(ge=1, le=16, description="Layers on top of each other.")] = 2
    feedforward_size: Annotated[
        Integer, Field(ge=1, le=16384, description="Hidden size of each layer's feed-forward part.")
    ] = 64
    dropout: Dropout = 0.1

    @model_validator(mode="after")
    def _heads_share_evenly(self) -> "TransformerConfig":
        if self.model_size % self.heads:
            raise ValueError(f"heads must divide modelSize: {self.model_size} is no multiple of {self.heads}")
        return self


class CausalAttention(nn.Module):
    """Multi-head self-attention in which a row sees itself and older rows only."""

    def __init__(self, size: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.project_in = nn.Linear(size, 3 * size)
        self.project_out = nn.Linear(size, size)

    def forward(self, rows: Tensor) -> Tensor:
        """(batch, window, size) to the same shape."""
        window, size = rows.shape[1], rows.shape[2]
        projected = self.project_in(rows).unflatten(2, (3, self.heads, size // self.heads))
        query, key, value = projected.permute(2, 0, 3, 1, 4)
        # Written out: the fused kernels' gradients are not deterministic on every GPU.
        scores = query @ key.transpose(2, 3) / math.sqrt(size // self.heads)
        newer = torch.ones(window, window, dtype=torch.bool, device=rows.device).triu(1)
        weights = torch.softmax(scores.masked_fill(newer, -math.inf), dim=3)
        weights = nn.functional.dropout(weights, self.dropout, self.training)
        seen = (weights @ value).transpose(1, 2).flatten(2)
        attended: Tensor = self.project_out(seen)
        return attended


class Layer(nn.Module):
    """Attention and a feed-forward part, each on the normalised rows and added to them (pre-norm)."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.attention = nn.Sequential(
            nn.LayerNorm(config.model_size),
            CausalAttention(config.model_size, config.heads, config.dropout),
            nn.Dropout(config.dropout),
        )
        self.feedforward = nn.Sequential(
            nn.LayerNorm(config.model_size),
            nn.Linear(config.model_size, config.feedforward_size),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.feedforward_size, config.model_size),
            nn.Dropout(config.dropout),
        )

    def forward(self, rows: Tensor) -> Tensor:
        """(batch, window, model size) to the same shape."""
        rows = rows + self.attention(rows)
        changed: Tensor = rows + self.feedforward(rows)
        return changed


class Transformer(nn.Module):
    """Linear embedding, sinusoidal positions, pre-norm layers, the newest row, linear head."""

    positions: Tensor

    def __init__(self, config: TransformerConfig, shape: NetworkShape) -> None:
        super().__init__()
        self.embedding = nn.Linear(shape.features, config.model_size)
        self.register_buffer("positions", positions(shape.window, config.model_size), persistent=False)
        self.layers = nn.Sequential(
            nn.Dropout(config.dropout),
            *(Layer(config) for _ in range(config.layers)),
            nn.LayerNorm(config.model_size),
        )
        self.head = head(config.model_size, shape.outputs, dropout=config.dropout)

    def forward(self, features: Tensor) -> Tensor:
        """Outputs, (batch, outputs), from normalised features, (batch, window, features)."""
        rows = self.layers(self.embedding(features) + self.positions)
        outputs: Tensor = self.head(rows[:, -1])
        return outputs


def positions(window: int, size: int) -> Tensor:
    """Sines and cosines of each row's age, (window, size); the newest row has the age 0.

    The encoding of Vaswani et al., "Attention Is All You Need", 2017, section 3.5, with ages as positions.
    """
    age = torch.arange(window - 1, -1, -1, dtype=torch.float32)[:, None]
    rate = torch.exp(torch.arange(0, size, 2, dtype=torch.float32) * (-math.log(LONGEST_PERIOD) / size))
    return torch.stack([torch.sin(age * rate), torch.cos(age * rate)], dim=2).flatten(1)


ARCHITECTURE = Architecture(name="transformer", config=TransformerConfig, build=Transformer)
