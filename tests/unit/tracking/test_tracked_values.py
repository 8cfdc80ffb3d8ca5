"""What users log becomes what MLflow keeps, or a message that names it."""

import enum
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mlflow.utils.validation import path_not_unique, validate_param_and_metric_name

from mlinfra.errors import InvalidInputError
from mlinfra.tracking.values import flat_params, metric_points


class Kind(enum.Enum):
    LONG = 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 1.0),
        (True, 1.0),
        (np.float32(0.5), 0.5),
        (np.array(2), 2.0),
        (torch.tensor(3.0), 3.0),
        (torch.tensor([4.0]), 4.0),
        (torch.tensor(0.25, requires_grad=True), 0.25),
        (math.inf, math.inf),
    ],
)
def test_numbers_of_every_kind_are_metrics(value: Any, expected: float) -> None:
    (point,) = metric_points({"loss": value}, np.int64(3), timestamp=7, known=set())
    assert (point.key, point.value, point.timestamp, point.step) == ("loss", expected, 7, 3)
    assert type(point.value) is float
    assert type(point.step) is int


def test_nan_stays_and_no_metrics_are_no_points() -> None:
    (point,) = metric_points({"loss": math.nan}, 0, timestamp=1, known=set())
    assert math.isnan(point.value)
    assert metric_points({}, 0, timestamp=1, known=set()) == []


@pytest.mark.parametrize(
    ("metrics", "step", "message"),
    [
        ({"loss": "0.5"}, 0, "metric \"loss\" is '0.5', no number"),
        ({"loss": None}, 0, 'metric "loss" is of type NoneType'),
        ({"loss": np.zeros(2)}, 0, 'metric "loss" is of type ndarray'),
        ({"loss": torch.zeros(2)}, 0, 'metric "loss" is of type Tensor'),
        ({"loss": 1j}, 0, "of type complex"),
        ({"val@loss": 1.0}, 0, 'metric "val@loss": MLflow takes up to 250 letters'),
        ({"": 1.0}, 0, 'metric "": MLflow takes'),
        ({"../loss": 1.0}, 0, "and no path"),
        ({"..loss": 1.0}, 0, "and no path"),
        ({"x" * 251: 1.0}, 0, "up to 250 letters"),
        ({7: 1.0}, 0, "metric 7: a name is a string"),
        ({"loss": 1.0}, 1.5, "step 1.5 is no whole number"),
        ({"loss": 1.0}, None, "step None is no whole number"),
        ({"loss": 1.0}, math.nan, "step nan is no whole number"),
    ],
)
def test_what_is_no_metric_is_named(metrics: Any, step: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=re.escape(message)):
        metric_points(metrics, step, timestamp=1, known=set())


def test_nested_parameters_are_flattened() -> None:
    params = {
        "model": {"hidden": [1, 2], "inner": {"rate": np.float32(0.5)}},
        "path": Path("a"),
        "none": None,
        "empty": {},
        "kind": Kind.LONG,
        "tensor": torch.tensor(3),
    }
    assert flat_params(params) == {
        "model.hidden": "[1, 2]",
        "model.inner.rate": "0.5",
        "path": "a",
        "none": "None",
        "empty": "{}",
        "kind": "Kind.LONG",
        "tensor": "3",
    }


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"a": {"b": 1}, "a.b": 2}, 'parameter "a.b" is given twice'),
        ({"a=b": 1}, 'parameter "a=b": MLflow takes'),
        ({"a": {"": 1}, "": 1}, 'parameter "": MLflow takes'),
    ],
)
def test_parameters_that_mlflow_does_not_take_are_named(params: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=re.escape(message)):
        flat_params(params)


@given(name=st.text(st.sampled_from("aZ0_-. :/@é\n"), max_size=6))
def test_names_are_judged_as_mlflow_judges_them(name: str) -> None:
    good = bool(name) and bool(validate_param_and_metric_name(name)) and not path_not_unique(name)
    try:
        metric_points({name: 1.0}, 0, timestamp=1, known=set())
    except InvalidInputError:
        # MLflow's pattern lets a line feed at the end pass.
        assert not good or name.endswith("\n")
    else:
        assert good
