"""A copy with 8-bit weights answers nearly the same, is smaller, and leaves the full graph as it was."""

import numpy as np
import pytest
import torch

from mlinfra.models import find_architecture
from mlinfra.models.architecture import NetworkShape
from mlinfra.models.int8 import quantize_int8
from mlinfra.models.onnx_export import export_onnx, run_onnx
from mlinfra.models.registry import BUILT_IN

SHAPE = NetworkShape(window=10, features=6, outputs=2)


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_copy_answers_nearly_the_same(name: str) -> None:
    torch.manual_seed(0)
    architecture = find_architecture(name)
    network = architecture.network(architecture.configure({}), SHAPE)
    model = export_onnx(network, np.zeros((1, 10, 6), np.float32), {"mlinfra.label": "up"})
    before = model.SerializeToString(deterministic=True)
    small = quantize_int8(model)
    assert model.SerializeToString(deterministic=True) == before
    assert small.ByteSize() < model.ByteSize()
    properties = {entry.key: entry.value for entry in small.metadata_props}
    assert properties == {"mlinfra.label": "up", "mlinfra.quantization": "int8-dynamic"}
    windows = np.random.default_rng(0).normal(size=(50, 10, 6)).astype(np.float32)
    full, copied = run_onnx(model, windows), run_onnx(small, windows)
    assert np.abs(full - copied).max() < 0.1 * full.std()
    assert run_onnx(small, windows[:1]).shape == (1, 2)
