"""Parameters that several architectures share, with their bounds."""

from typing import Annotated

from pydantic import Field

from mlinfra.resources.base import Integer

Width = Annotated[Integer, Field(ge=1, le=4096)]
ConvChannels = Annotated[
    list[Width],
    Field(min_length=1, max_length=16, description="Output channels of each convolution, first to last."),
]
KernelSize = Annotated[Integer, Field(ge=1, le=101, description="Rows that a convolution sees at a time.")]
StateSize = Annotated[Integer, Field(ge=1, le=4096, description="Size of the LSTM's state.")]
LstmLayers = Annotated[Integer, Field(ge=1, le=8, description="LSTM layers on top of each other.")]
Dropout = Annotated[float, Field(ge=0, lt=1, description="Share of activations dropped in training.")]
