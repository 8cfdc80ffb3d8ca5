"""Networks read (batch, window, features) and normalise raw values themselves."""

import torch

from mlinfra.models import find_architecture
from mlinfra.models.architecture import NetworkShape
from mlinfra.models.hybrid_cnn_lstm import HybridCnnLstm, HybridCnnLstmConfig
from mlinfra.models.normalized import Classifier, NormalizedNetwork

SHAPE = NetworkShape(window=6, features=3, outputs=2)


def test_hybrid_cnn_lstm_gives_one_logit_a_class() -> None:
    architecture = find_architecture("hybrid_cnn_lstm")
    network = architecture.network(architecture.configure({"lstmLayers": 2}), SHAPE)
    assert network(torch.zeros(5, 6, 3)).shape == (5, 2)


def test_seed_decides_the_weights() -> None:
    def first_weights() -> torch.Tensor:
        torch.manual_seed(7)
        return next(HybridCnnLstm(HybridCnnLstmConfig(), SHAPE).parameters())

    assert torch.equal(first_weights(), first_weights())


def test_scaling_a_raw_feature_changes_nothing_when_its_statistics_scale_too() -> None:
    torch.manual_seed(0)
    network = HybridCnnLstm(HybridCnnLstmConfig(dropout=0.0), SHAPE)
    raw = torch.randn(4, 6, 3)
    units = torch.tensor([1.0, 1000.0, 0.001])
    plain = NormalizedNetwork(network, mean=torch.zeros(3), scale=torch.ones(3))
    scaled = NormalizedNetwork(network, mean=torch.zeros(3), scale=units)
    assert torch.allclose(plain(raw), scaled(raw * units), atol=1e-5)


def test_statistics_are_saved_with_the_weights() -> None:
    network = NormalizedNetwork(torch.nn.Identity(), mean=torch.ones(3), scale=torch.ones(3))
    assert {"mean", "scale"} <= set(network.state_dict())


def test_classifier_gives_probabilities() -> None:
    network = NormalizedNetwork(
        HybridCnnLstm(HybridCnnLstmConfig(), SHAPE), mean=torch.zeros(3), scale=torch.ones(3)
    )
    probabilities = Classifier(network).eval()(torch.randn(5, 6, 3))
    assert torch.allclose(probabilities.sum(dim=1), torch.ones(5))
