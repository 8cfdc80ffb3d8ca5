"""What a warm-up learns of a model: how many rows pay to be computed at once, and how long one takes."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import onnx
import pytest
from servers.model_server import linear_model

from mlinfra.serving.errors import ModelFailedError
from mlinfra.serving.model_source import ModelSource
from mlinfra.serving.served_model import WARM_UP_RUNS, WARM_UP_SECONDS, ServedModel
from mlinfra.serving.tensors import Array
from mlinfra.tracking.errors import UnusableModelError


class Timed(ServedModel):
    """A real model whose runs take by the clock what ``cost`` says of their rows.

    Attributes:
        tried: rows of each run.
    """

    def __init__(self, path: Path, cost: Callable[[int], float]) -> None:
        super().__init__(ModelSource(str(path)).fetch())
        self._cost = cost
        self._now = 0.0
        self.tried: list[int] = []

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        rows = len(next(iter(inputs.values())))
        self.tried.append(rows)
        self._now += self._cost(rows)
        return super().run(inputs)

    def warm(self, most: int = 64) -> None:
        self.warm_up(most, clock=lambda: self._now)


class Failing(Timed):
    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        raise ModelFailedError("the graph failed")


class Summing(Timed):
    """Answers one row, however many it is given."""

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        return [each[:1] for each in super().run(inputs)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return linear_model(tmp_path / "m.onnx")


def with_axes(path: Path, *sizes: int | str) -> Path:
    """The model with other sizes of its input's axes; a text for an open one."""
    model = onnx.load(path)
    for dimension, size in zip(model.graph.input[0].type.tensor_type.shape.dim, sizes, strict=True):
        dimension.Clear()
        if isinstance(size, int):
            dimension.dim_value = size
        else:
            dimension.dim_param = size
    onnx.save(model, path)
    return path


def test_rows_are_computed_together_where_that_pays(path: Path) -> None:
    model = Timed(path, lambda rows: 0.001 + 0.0001 * rows)
    model.warm()
    assert model.batch_rows == 64
    assert model.row_seconds == pytest.approx(0.0011)
    assert model.tried == [rows for rows in (1, 2, 4, 8, 16, 32, 64) for _ in range(WARM_UP_RUNS)]
    model.warm(20)
    assert model.batch_rows == 16


def test_rows_that_take_as_long_together_are_computed_alone(path: Path) -> None:
    model = Timed(path, lambda rows: 0.001 * rows)
    model.warm()
    assert (model.batch_rows, model.row_seconds) == (1, pytest.approx(0.001))


def test_a_slow_model_is_tried_for_a_short_time_only(path: Path) -> None:
    model = Timed(path, lambda rows: 0.2 * WARM_UP_SECONDS)
    model.warm()
    # Three runs of two rows, and of four: then the time is over.
    assert max(model.tried) == model.batch_rows == 4


def test_a_model_of_one_row_is_given_no_more(path: Path) -> None:
    model = Timed(with_axes(path, 1, 3), lambda rows: 0.001)
    model.warm()
    assert (model.batch_rows, set(model.tried)) == (1, {1})


def test_of_an_axis_that_is_open_besides_the_rows_nobody_knows_how_long_a_row_takes(path: Path) -> None:
    model = Timed(with_axes(path, "rows", "any"), lambda rows: 0.001)
    model.warm()
    assert (model.batch_rows, model.row_seconds) == (64, math.inf)
    failing = Failing(path, lambda rows: 0.001)
    failing.warm()
    assert (failing.batch_rows, failing.row_seconds) == (1, math.inf)


def test_a_model_that_fails_on_what_its_schema_says_is_refused(path: Path) -> None:
    with pytest.raises(UnusableModelError, match="the graph failed"):
        Failing(path, lambda rows: 0.001).warm()


def test_answers_with_other_rows_are_never_computed_together(path: Path) -> None:
    model = Summing(path, lambda rows: 0.001)
    model.warm()
    assert model.batch_rows == 1
    assert max(model.tried) == 2
