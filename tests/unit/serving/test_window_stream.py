"""Windows over batches are those over all rows at once."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlinfra.features.errors import InvalidFeatures
from mlinfra.serving.settings import MissingPolicy
from mlinfra.serving.windows import WindowStream

NAN = float("nan")


def plain_windows(entities: list[str], values: np.ndarray, window: int) -> dict[int, list[float]]:
    """Of each row that has a whole window: its values."""
    rows: dict[str, list[int]] = {}
    found = {}
    for row, entity in enumerate(entities):
        own = rows.setdefault(entity, [])
        own.append(row)
        if len(own) >= window:
            found[row] = [values[each, 0] for each in own[-window:]]
    return found


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=30), st.integers(1, 4), st.data())
def test_batches_change_nothing(entities: list[str], window: int, data: st.DataObject) -> None:
    values = np.arange(len(entities), dtype=float).reshape(-1, 1)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(entities)), max_size=4)) | {0, len(entities)})
    stream = WindowStream(["x"], window)
    found: dict[int, list[float]] = {}
    for start, end in itertools.pairwise(cuts):
        if start == end:
            continue
        rows, windows = stream.add(entities[start:end], np.arange(start, end), values[start:end])
        assert list(rows) == sorted(rows)
        found |= {start + int(row): one[:, 0].tolist() for row, one in zip(rows, windows, strict=True)}
    assert found == plain_windows(entities, values, window)


def test_rows_out_of_order_are_told() -> None:
    # The policy "last" looks back also where the window is of one row.
    for stream in (WindowStream(["x"], 2), WindowStream(["x"], 1, policy="last")):
        stream.add(["a", "b"], np.array([10, 5]), np.ones((2, 1)))
        with pytest.raises(InvalidFeatures, match="entity 'b' are not in order of time"):
            stream.add(["a", "b"], np.array([11, 5]), np.ones((2, 1)))


@pytest.mark.parametrize("policy", ["reject", "default"])
def test_windows_of_one_row_take_rows_in_any_order(policy: MissingPolicy) -> None:
    stream = WindowStream(["x"], 1, policy=policy)
    found = [
        stream.add(["a"] * 3, np.array(times), np.arange(3.0).reshape(-1, 1))
        for times in ([10, 10, 5], [10, 4, 20])
    ]
    for rows, windows in found:
        assert rows.tolist() == [0, 1, 2]
        assert windows.ravel().tolist() == [0, 1, 2]


def test_missing_values_follow_the_policy() -> None:
    values = np.array([[1.0], [NAN], [3.0]])
    with pytest.raises(InvalidFeatures, match="'x' has no value in 1 rows, first of entity 'a'"):
        WindowStream(["x"], 1).add(["a"] * 3, None, values)
    _, windows = WindowStream(["x"], 1, policy="default", defaults={"x": 7}).add(["a"] * 3, None, values)
    assert windows.ravel().tolist() == [1, 7, 3]
    stream = WindowStream(["x"], 1, policy="last")
    assert stream.add(["a"] * 3, None, values)[1].ravel().tolist() == [1, 1, 3]
    assert stream.add(["a"], None, values[1:2])[1].ravel().tolist() == [3]
    with pytest.raises(InvalidFeatures, match="no earlier value"):
        stream.add(["b"], None, values[1:2])


@pytest.mark.parametrize("value", [np.inf, 1e39])
def test_what_no_32_bit_number_holds_is_told(value: float) -> None:
    with pytest.raises(InvalidFeatures, match="beyond 32-bit"):
        WindowStream(["x"], 1).add(["a"], None, np.array([[value]]))
