"""Rows that cannot be learnt from are refused with column, count and first times."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlinfra.errors import InvalidInputError
from mlinfra.resources.built_in_training import TrainingData
from mlinfra.training.rows import RowKeys, labelled_rows

KEYS = RowKeys(entity="symbol")
DATA = TrainingData(feature_group="group", label="up")


def good_frame(rows: int = 10) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "event_timestamp": pd.date_range("2020-01-01", periods=rows, tz="UTC"),
            "symbol": "S",
            "a": np.arange(rows, dtype=float),
            "b": np.arange(rows, dtype=float),
            "note": "text",
            "up": np.arange(rows) % 2,
        }
    )


def with_cells(column: str, value: float, *positions: int) -> pd.DataFrame:
    frame = good_frame()
    frame[column] = frame[column].astype(float)
    frame.loc[list(positions), column] = value
    return frame


def test_features_are_every_numeric_column_but_label_and_keys() -> None:
    frame = good_frame().assign(symbol=7)
    assert labelled_rows(frame, DATA, KEYS).feature_names == ("a", "b")


def test_named_features_keep_their_order() -> None:
    data = TrainingData(feature_group="group", label="up", features=["b", "a"])
    rows = labelled_rows(good_frame().assign(b=5.0), data, KEYS)
    assert rows.feature_names == ("b", "a")
    assert rows.features[3].tolist() == [5.0, 3.0]


def test_rows_come_in_order_of_entity_and_time() -> None:
    frame = pd.concat([good_frame(), good_frame().assign(symbol="R", a=-1.0)])
    rows = labelled_rows(frame.sample(frac=1, random_state=1), DATA, KEYS)
    assert rows.entity.tolist() == [0] * 10 + [1] * 10
    assert (np.diff(rows.time[:10]) > np.timedelta64(0)).all()
    assert rows.features[10:, 0].tolist() == list(range(10))


@pytest.mark.parametrize(
    ("label", "classes", "second"),
    [
        ([0, 1] * 5, (0, 1), 1),
        ([False, True] * 5, (False, True), 1),
        ([2.0, -1.0] * 5, (-1, 2), 0),
        (["low", "high"] * 5, ("high", "low"), 0),
    ],
)
def test_label_becomes_an_index_of_classes(
    label: list[Any], classes: tuple[object, ...], second: int
) -> None:
    rows = labelled_rows(good_frame().assign(up=label), DATA, KEYS)
    assert rows.classes == classes
    assert rows.label[1] == second


def test_label_of_a_regression_stays_a_value() -> None:
    data = TrainingData(feature_group="group", label="up", task="Regression")
    rows = labelled_rows(good_frame().assign(up=np.arange(10) / 4), data, KEYS)
    assert rows.classes == ()
    assert rows.label.tolist() == (np.arange(10) / 4).tolist()


@pytest.mark.parametrize(
    ("values", "reason", "text"),
    [
        (["low", "high"] * 5, "InvalidLabel", "and the task Regression learns numbers"),
        ([True, False] * 5, "InvalidLabel", "holds bool, and the task Regression learns numbers"),
        ([np.inf, *range(9)], "InvalidLabel", "infinite or beyond 32-bit numbers in 1 of 10 rows"),
        ([np.nan, *range(9)], "MissingLabel", "has no value in 1 of 10 rows, first at 2020-01-01"),
    ],
)
def test_refused_labels_of_a_regression(values: list[Any], reason: str, text: str) -> None:
    data = TrainingData(feature_group="group", label="up", task="Regression")
    with pytest.raises(InvalidInputError) as caught:
        labelled_rows(good_frame().assign(up=values), data, KEYS)
    assert caught.value.reason == reason
    assert text in str(caught.value)


REFUSALS: dict[str, tuple[Callable[[], pd.DataFrame], list[str] | None, str, str]] = {
    "no rows": (lambda: good_frame(0), None, "EmptyDateRange", 'group "group" has no rows'),
    "unknown feature": (
        good_frame,
        ["aa"],
        "UnknownFeature",
        'no feature "aa"; did you mean a? There are: a, b',
    ),
    "feature of text": (good_frame, ["note"], "InvalidFeature", 'Feature "note" of group "group" holds'),
    "no numeric column": (
        lambda: good_frame().drop(columns=["a", "b"]),
        None,
        "UnknownFeature",
        "no numeric column but the label",
    ),
    "no label column": (
        lambda: good_frame().rename(columns={"up": "upp"}),
        None,
        "MissingLabel",
        'no column "up" to learn; did you mean upp?',
    ),
    "label without values": (
        lambda: with_cells("up", np.nan, 8, 9),
        None,
        "MissingLabel",
        'Label "up" has no value in 2 of 10 rows, first at 2020-01-09, 2020-01-10. End the dates',
    ),
    "infinity as label": (lambda: with_cells("up", np.inf, 4), None, "InvalidLabel", "holds infinities"),
    "constant features": (
        lambda: good_frame().assign(a=1.0, b=2.0),
        None,
        "InvalidFeature",
        "Every feature (a, b) has the same value in all 10 rows",
    ),
    "fractions as label": (lambda: with_cells("up", 0.5, 4), None, "InvalidLabel", "fractions such as 0.5"),
    "too many classes": (
        lambda: good_frame(101).assign(up=range(101)),
        None,
        "InvalidLabel",
        "101 different values",
    ),
    "NaN": (
        lambda: with_cells("b", np.nan, 2, 3, 5, 7),
        None,
        "InvalidRows",
        'Feature "b" is NaN in 4 of 10 rows, first at 2020-01-03, 2020-01-04, 2020-01-06.',
    ),
    "NaN in two columns": (
        lambda: with_cells("b", np.nan, 2).assign(a=np.nan),
        None,
        "InvalidRows",
        "So have: b.",
    ),
    "infinity": (lambda: with_cells("a", np.inf, 2), None, "InvalidRows", 'Feature "a" is infinite'),
    "beyond 32 bits": (lambda: with_cells("a", 1e39, 2), None, "InvalidRows", "beyond 32-bit numbers"),
    "no time": (
        lambda: good_frame().assign(event_timestamp=pd.Series([pd.NaT] * 10)),
        None,
        "InvalidRows",
        'Column "event_timestamp" has no value in 10 of 10 rows',
    ),
    "no entity": (
        lambda: good_frame().assign(symbol=pd.Series([None] + ["S"] * 9)),
        None,
        "InvalidRows",
        'Column "symbol" has no value in 1 of 10 rows',
    ),
    "repeated row": (
        lambda: pd.concat([good_frame(), good_frame().iloc[[4]]]),
        None,
        "InvalidRows",
        "1 rows repeat an earlier one in symbol and event_timestamp, first at 2020-01-05",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusal_names_reason_and_place(case: str) -> None:
    make, features, reason, text = REFUSALS[case]
    data = TrainingData(feature_group="group", label="up", features=features)
    with pytest.raises(InvalidInputError) as caught:
        labelled_rows(make(), data, KEYS)
    assert caught.value.reason == reason
    assert text in str(caught.value)
