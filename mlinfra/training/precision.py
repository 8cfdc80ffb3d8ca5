"""Number formats of a training: which one a device gets, and what a step needs for it."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch

from mlinfra.training.errors import UnsupportedPrecisionError

PrecisionName = Literal["Auto", "FP32", "BF16", "FP16"]


@dataclass(frozen=True, slots=True)
class Precision:
    """The format of a training's matrix products; all else, and the weights, stay 32-bit.

    Attributes:
        name: as in a TrainingJob, never ``Auto``.
        dtype: what torch's automatic mixed precision casts to; None without it.
        scales_loss: whether gradients would vanish without a scaled loss.
    """

    name: PrecisionName
    dtype: torch.dtype | None = None
    scales_loss: bool = False

    def autocast(self, device: torch.device) -> AbstractContextManager[object]:
        """The context in which the network is applied."""
        if self.dtype is None:
            return nullcontext()
        return torch.autocast(device.type, dtype=self.dtype)

    def scaler(self, device: torch.device) -> torch.amp.GradScaler | None:
        """What scales the loss and skips steps whose gradients overflow; None where nothing is scaled."""
        return torch.amp.GradScaler(device.type) if self.scales_loss else None


FP32 = Precision("FP32")
BF16 = Precision("BF16", torch.bfloat16)
FP16 = Precision("FP16", torch.float16, scales_loss=True)


def choose_precision(name: PrecisionName, device: torch.device) -> Precision:
    """The precision of a training on a device.

    Raises:
        UnsupportedPrecisionError: the device cannot do that.
    """
    on_gpu = device.type == "cuda"
    # Emulated bf16 is slower than fp32.
    gpu_has_bf16 = on_gpu and torch.cuda.is_bf16_supported(including_emulation=False)
    if name == "Auto":
        return BF16 if gpu_has_bf16 else FP32
    if name == "FP16":
        if not on_gpu:
            raise UnsupportedPrecisionError(
                "training.precision FP16 needs a GPU, and this training runs on the CPU. "
                "Use Auto, FP32 or BF16."
            )
        return FP16
    if name == "BF16":
        if on_gpu and not gpu_has_bf16:
            raise UnsupportedPrecisionError(
                f"training.precision BF16: {torch.cuda.get_device_name(device)} does not have it. "
                "Use Auto, FP16 or FP32."
            )
        return BF16
    return FP32
