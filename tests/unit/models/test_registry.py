"""Architectures are found by name; what is wrong with a name or a parameter is said with the way out."""

from importlib.metadata import EntryPoint

import pytest

from mlinfra.models import architecture_names, find_architecture, registry
from mlinfra.models.errors import (
    ArchitectureUnavailableError,
    InvalidParameterError,
    UnknownArchitectureError,
)
from mlinfra.models.hybrid_cnn_lstm import HybridCnnLstmConfig


def offer(monkeypatch: pytest.MonkeyPatch, *points: EntryPoint) -> None:
    monkeypatch.setattr(registry, "entry_points", lambda group: list(points))


def test_unknown_architecture_names_the_closest_and_all() -> None:
    with pytest.raises(UnknownArchitectureError) as caught:
        find_architecture("hybrid_cnn_lstn")
    assert "did you mean hybrid_cnn_lstm?" in str(caught.value)
    assert "There are: cnn, hybrid_cnn_lstm, lstm" in str(caught.value)
    assert caught.value.reason == "UnknownArchitecture"


def test_architecture_of_another_package_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, EntryPoint("mine", "mlinfra.models.hybrid_cnn_lstm:ARCHITECTURE", "g"))
    assert architecture_names() == sorted([*registry.BUILT_IN, "mine"])
    assert find_architecture("mine").config is HybridCnnLstmConfig


def test_a_package_cannot_replace_a_built_in_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, EntryPoint("hybrid_cnn_lstm", "os:path", "g"))
    assert find_architecture("hybrid_cnn_lstm").config is HybridCnnLstmConfig


@pytest.mark.parametrize("value", ["no_such_module:X", "os:no_such_attribute", "os:path"])
def test_architecture_that_cannot_be_loaded_names_its_source(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    offer(monkeypatch, EntryPoint("broken", value, "g"))
    with pytest.raises(ArchitectureUnavailableError, match=value):
        find_architecture("broken")


def test_parameters_are_read_in_camel_case_over_the_defaults() -> None:
    config = find_architecture("hybrid_cnn_lstm").configure({"hiddenSize": 8, "convChannels": [4]})
    assert config == HybridCnnLstmConfig(hidden_size=8, conv_channels=[4])


def test_unknown_parameter_names_the_known_ones() -> None:
    with pytest.raises(InvalidParameterError) as caught:
        find_architecture("hybrid_cnn_lstm").configure({"hidenSize": 8})
    assert 'no parameter "hidenSize"; did you mean hiddenSize?' in str(caught.value)
    assert "convChannels, dropout, hiddenSize, kernelSize, lstmLayers" in str(caught.value)


@pytest.mark.parametrize(
    ("parameters", "where"),
    [
        ({"dropout": 1.0}, "dropout"),
        ({"hiddenSize": "32"}, "hiddenSize"),
        ({"convChannels": []}, "convChannels"),
        ({"convChannels": [8, 0]}, r"convChannels\.1"),
    ],
)
def test_parameter_out_of_bounds_is_named(parameters: dict[str, object], where: str) -> None:
    with pytest.raises(InvalidParameterError, match=f"refuses {where}: "):
        find_architecture("hybrid_cnn_lstm").configure(parameters)
