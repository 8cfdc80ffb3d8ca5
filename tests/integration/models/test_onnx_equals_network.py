"""The exported graph of every built-in architecture computes what its network computes, for any batch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlinfra.models import find_architecture
from mlinfra.models.architecture import NetworkShape
from mlinfra.models.onnx_export import export_onnx, run_onnx
from mlinfra.models.registry import BUILT_IN

WIDTH = st.integers(1, 9)
CHANNELS = st.lists(WIDTH, min_size=1, max_size=2)
PARAMETERS = {
    "cnn": st.fixed_dictionaries({"convChannels": CHANNELS, "kernelSize": st.integers(1, 6)}),
    "hybrid_cnn_lstm": st.fixed_dictionaries(
        {"convChannels": CHANNELS, "kernelSize": st.integers(1, 6), "lstmLayers": st.integers(1, 2)}
    ),
    "lstm": st.fixed_dictionaries({"hiddenSize": WIDTH, "lstmLayers": st.integers(1, 2)}),
    "mlp": st.fixed_dictionaries({"hiddenSizes": CHANNELS}),
    "transformer": st.fixed_dictionaries({"modelSize": st.sampled_from([4, 8]), "heads": st.integers(1, 2)}),
}


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_graph_computes_what_the_network_computes(name: str) -> None:
    architecture = find_architecture(name)

    @given(
        parameters=PARAMETERS[name],
        shape=st.builds(NetworkShape, st.integers(1, 9), st.integers(1, 4), st.integers(1, 3)),
        seed=st.integers(0, 100),
    )
    @settings(max_examples=3)
    def try_one(parameters: dict[str, object], shape: NetworkShape, seed: int) -> None:
        torch.manual_seed(seed)
        network = architecture.network(architecture.configure(parameters), shape).eval()
        model = export_onnx(network, np.zeros((1, shape.window, shape.features), np.float32), {})
        for batch in (1, 2, 5):
            windows = torch.randn(batch, shape.window, shape.features)
            with torch.no_grad():
                expected = network(windows).numpy()
            np.testing.assert_allclose(run_onnx(model, windows.numpy()), expected, rtol=1e-4, atol=1e-5)

    try_one()
