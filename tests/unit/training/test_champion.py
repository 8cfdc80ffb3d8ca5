"""The champion is scored on its challenger's test rows with what its own metadata tell."""

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mlinfra.models.errors import ForeignModelError
from mlinfra.models.learnt import LearntModel, learnt_model
from mlinfra.resources.built_in_training import TrainingData, Validation
from mlinfra.training.champion import Champion, ChampionScore, align_classes, score_champion
from mlinfra.training.config import TrainingConfig
from mlinfra.training.metadata import model_metadata
from mlinfra.training.objective import Classification, Regression
from mlinfra.training.rows import RowKeys, labelled_rows
from mlinfra.training.samples import Samples, make_samples

ROWS = 60
KEYS = RowKeys()
CONFIG = TrainingConfig(
    data=TrainingData(feature_group="group", label="up", features=["a"], window_length=4),
    validation=Validation(),
)
LEARNT = LearntModel(features=("sign",), window=2, label="up", classes=(0, 1))


def frame() -> pd.DataFrame:
    label = np.arange(ROWS) % 3 == 0
    return pd.DataFrame(
        {
            "event_timestamp": pd.date_range("2020-01-01", periods=ROWS, tz="UTC"),
            "a": np.arange(ROWS, dtype=float),
            "sign": np.where(label, 5.0, -5.0),
            "up": label.astype(int),
        }
    )


def samples(rows: pd.DataFrame) -> Samples:
    return make_samples(labelled_rows(rows, CONFIG.data, KEYS), CONFIG.validation, window=4)


def sign_model(*, window: int = 2, classes: int = 2) -> onnx.ModelProto:
    """A graph that reads the class off the newest row of its one feature."""
    weights = np.zeros((window, classes), dtype=np.float32)
    weights[-1, :2] = [-1.0, 1.0]
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["features"], ["flat"], axis=1),
            helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        ],
        "sign",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", window, 1])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", classes])],
        [numpy_helper.from_array(weights, "weights")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def scored(champion: Champion, rows: pd.DataFrame | None = None) -> ChampionScore:
    rows = frame() if rows is None else rows
    return score_champion(
        champion, rows, samples(rows), Classification(classes=2), data=CONFIG.data, keys=KEYS
    )


def test_a_champion_of_other_features_and_window_is_scored_on_the_same_rows() -> None:
    score = scored(Champion("3", sign_model(), LEARNT))
    assert score.problem is None
    assert score.measures["accuracy"] == 1.0
    assert score.run_metrics()["champion_test_accuracy"] == 1.0


def test_rows_in_another_order_give_the_same_score() -> None:
    shuffled = frame().sample(frac=1.0, random_state=1)
    assert scored(Champion("3", sign_model(), LEARNT), shuffled).measures["accuracy"] == 1.0


@pytest.mark.parametrize(
    ("learnt", "problem"),
    [
        (replace(LEARNT, label="down"), 'it predicts "down", not "up"'),
        (replace(LEARNT, features=("gone",)), 'has no feature "gone"'),
        (replace(LEARNT, classes=("no", "yes")), "share none with those of the rows"),
        (replace(LEARNT, window=ROWS), "test rows have fewer than the 60 rows before them"),
        (replace(LEARNT, window=3), "Got invalid dimensions"),
        (replace(LEARNT, features=("sign", "a")), "Got invalid dimensions"),
        (replace(LEARNT, classes=(0, 1, 2)), "numbers, not"),
    ],
)
def test_why_a_champion_cannot_be_scored_is_told(learnt: LearntModel, problem: str) -> None:
    score = scored(Champion("3", sign_model(), learnt))
    assert score.measures == {}
    assert score.problem is not None
    assert problem in score.problem


def test_a_champion_of_values_is_scored_by_its_error() -> None:
    data = CONFIG.data.model_copy(update={"label": "a", "features": ["sign"], "task": "Regression"})
    rows = frame()
    made = make_samples(labelled_rows(rows, data, KEYS), CONFIG.validation, window=4)
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["features"], ["value"], axis=1)],
        "value",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 1, 1])],
        [helper.make_tensor_value_info("value", TensorProto.FLOAT, ["batch", 1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    learnt = LearntModel(features=("next",), window=1, label="a", classes=())
    champion = Champion("3", model, learnt)
    rows["next"] = rows["a"] + 0.5
    score = score_champion(champion, rows, made, Regression(0.0, 1.0), data=data, keys=KEYS)
    assert score.measures["mae"] == pytest.approx(0.5)
    assert "not classes" in (scored(Champion("3", model, replace(learnt, label="up"))).problem or "")


def test_a_champion_that_could_not_be_loaded_keeps_its_reason() -> None:
    assert scored(Champion("3", problem="damaged")) == ChampionScore("3", problem="damaged")


def test_a_graph_that_the_runtime_refuses_is_told() -> None:
    broken = sign_model()
    broken.graph.node[1].op_type = "NoSuchOperator"
    problem = scored(Champion("3", broken, LEARNT)).problem
    assert problem is not None
    assert "NoSuchOperator" in problem


@pytest.mark.parametrize(
    ("own", "wanted", "expected"),
    [
        ((0, 1), (0, 1), [[0.25, 0.75]]),
        ((1, 0), (0, 1), [[0.75, 0.25]]),
        ((0, 1), (0, 1, 2), [[0.25, 0.75, 0.0]]),
        ((0, 9), (0, 1), [[0.25, 0.0, 0.75]]),
    ],
)
def test_classes_are_brought_into_the_rows_order(
    own: tuple[Any, ...], wanted: tuple[Any, ...], expected: list[list[float]]
) -> None:
    probabilities: NDArray[np.float32] = np.array([[0.25, 0.75]], dtype=np.float32)
    assert align_classes(probabilities, own, wanted).tolist() == expected


def test_metadata_are_read_back_as_they_were_written() -> None:
    written = model_metadata(CONFIG, samples(frame()), Classification(classes=2))
    assert learnt_model(written) == LearntModel(
        features=("a",), window=4, label="up", classes=(0, 1), feature_group=CONFIG.data.feature_group
    )


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("mlinfra.label", None, "lack mlinfra.label"),
        ("mlinfra.window_length", "many", "are damaged"),
        ("mlinfra.window_length", "0", "no window"),
        ("mlinfra.classes", "{", "are damaged"),
        ("mlinfra.features", "7", "are damaged"),
    ],
)
def test_foreign_or_damaged_metadata_are_told(key: str, value: str | None, problem: str) -> None:
    properties = model_metadata(CONFIG, samples(frame()), Classification(classes=2))
    if value is None:
        del properties[key]
    else:
        properties[key] = value
    with pytest.raises(ForeignModelError, match=problem):
        learnt_model(properties)
