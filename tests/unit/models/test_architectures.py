"""Every built-in architecture: outputs for any shape, and no sample that depends on its neighbours."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlinfra.models import find_architecture
from mlinfra.models.architecture import Architecture, ArchitectureConfig, NetworkShape
from mlinfra.models.errors import InvalidNetworkError, InvalidParameterError
from mlinfra.models.registry import BUILT_IN
from mlinfra.models.transformer import positions

WIDTH = st.integers(1, 12)
DROPOUT = {"dropout": st.sampled_from([0.0, 0.5])}
CONVOLUTIONS = {"convChannels": st.lists(WIDTH, min_size=1, max_size=3), "kernelSize": st.integers(1, 8)}
STATE = {"hiddenSize": WIDTH, "lstmLayers": st.integers(1, 3)}
PARAMETERS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "cnn": st.fixed_dictionaries({}, optional=CONVOLUTIONS | DROPOUT),
    "hybrid_cnn_lstm": st.fixed_dictionaries({}, optional=CONVOLUTIONS | STATE | DROPOUT),
    "lstm": st.fixed_dictionaries({}, optional=STATE | DROPOUT),
    "mlp": st.fixed_dictionaries(
        {}, optional={"hiddenSizes": st.lists(WIDTH, min_size=1, max_size=3)} | DROPOUT
    ),
    "transformer": st.builds(
        lambda heads, share, layers, wide: {
            "heads": heads,
            "modelSize": 2 * heads * share,
            "layers": layers,
            "feedforwardSize": wide,
        },
        heads=st.integers(1, 3),
        share=st.integers(1, 3),
        layers=st.integers(1, 3),
        wide=WIDTH,
    ),
}
SHAPES = st.builds(
    NetworkShape, window=st.integers(1, 30), features=st.integers(1, 6), outputs=st.integers(1, 4)
)


@st.composite
def networks(draw: st.DrawFn) -> tuple[torch.nn.Module, NetworkShape]:
    """A network of any built-in architecture with random weights, ready to answer."""
    name = draw(st.sampled_from(sorted(BUILT_IN)))
    architecture = find_architecture(name)
    shape = draw(SHAPES)
    torch.manual_seed(draw(st.integers(0, 1000)))
    return architecture.network(architecture.configure(draw(PARAMETERS[name])), shape).eval(), shape


def test_every_built_in_architecture_is_tried_here() -> None:
    assert set(PARAMETERS) == set(BUILT_IN)


@given(networks(), st.permutations(range(4)))
@settings(max_examples=40)
def test_answers_have_their_shape_and_do_not_depend_on_the_rest_of_the_batch(
    built: tuple[torch.nn.Module, NetworkShape], order: list[int]
) -> None:
    network, shape = built
    windows = torch.randn(4, shape.window, shape.features)
    with torch.no_grad():
        together = network(windows)
        shuffled = network(windows[order])
        alone = network(windows[2:3])
    assert together.shape == (4, shape.outputs)
    assert together.isfinite().all()
    torch.testing.assert_close(shuffled, together[order], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(alone, together[2:3], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_same_seed_gives_the_same_answers(name: str) -> None:
    architecture = find_architecture(name)

    def answers() -> torch.Tensor:
        torch.manual_seed(3)
        network = architecture.network(architecture.configure({}), NetworkShape(8, 3, 2))
        return network(torch.ones(3, 8, 3))

    assert torch.equal(answers(), answers())


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_every_weight_learns(name: str) -> None:
    torch.manual_seed(0)
    architecture = find_architecture(name)
    network = architecture.network(architecture.configure({}), NetworkShape(8, 3, 2))
    network(torch.randn(64, 8, 3)).square().sum().backward()
    silent = [key for key, weight in network.named_parameters() if weight.grad is None]
    assert silent == []


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_order_of_the_rows_matters(name: str) -> None:
    torch.manual_seed(0)
    architecture = find_architecture(name)
    network = architecture.network(architecture.configure({}), NetworkShape(8, 3, 2)).eval()
    windows = torch.randn(4, 8, 3)
    assert not torch.allclose(network(windows), network(windows.flip(1)), atol=1e-4)


def test_a_row_of_the_transformer_sees_no_newer_one() -> None:
    torch.manual_seed(0)
    architecture = find_architecture("transformer")
    network = architecture.network(architecture.configure({}), NetworkShape(6, 3, 2)).eval()
    windows = torch.randn(2, 6, 3)
    changed = windows.clone()
    changed[:, 4:] += 1.0
    before = network.layers(network.embedding(windows) + network.positions)
    after = network.layers(network.embedding(changed) + network.positions)
    torch.testing.assert_close(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4:], after[:, 4:])


def test_positions_count_from_the_newest_row() -> None:
    torch.testing.assert_close(positions(30, 8)[-5:], positions(5, 8))
    assert positions(5, 8)[-1].tolist() == [0.0, 1.0] * 4
    assert len(positions(50, 8).unique(dim=0)) == 50


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"heads": 5}, "heads must divide modelSize: 32 is no multiple of 5"),
        ({"modelSize": 7}, "modelSize"),
    ],
)
def test_parameters_of_the_transformer_fit_together(parameters: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidParameterError, match=text):
        find_architecture("transformer").configure(parameters)


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda _, shape: torch.nn.Flatten(), r"gives \(1, 12\) for 1 samples; it must give \(1, 2\)"),
        (
            lambda _, shape: torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(5, 2)),
            "fails on 1 samples of 4 rows and 3 features",
        ),
        (lambda _, shape: torch.nn.Sequential(torch.nn.Flatten(0), torch.nn.Linear(12, 2)), "must give"),
    ],
)
def test_a_network_that_cannot_work_is_refused(
    build: Callable[[ArchitectureConfig, NetworkShape], torch.nn.Module], text: str
) -> None:
    architecture = Architecture(name="mine", config=ArchitectureConfig, build=build)
    with pytest.raises(InvalidNetworkError, match=text):
        architecture.network(architecture.configure({}), NetworkShape(4, 3, 2))
