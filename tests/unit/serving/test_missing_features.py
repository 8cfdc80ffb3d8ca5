"""What is missing is refused or replaced by the policy, and every replaced value is told."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from mlinfra.serving.errors import MissingFeaturesError, UnknownEntityError
from mlinfra.serving.missing import Known, complete
from mlinfra.serving.settings import MissingPolicy

FEATURES = ("a", "b")
DEFAULTS = {"a": 100.0, "b": 200.0}
NAN = float("nan")


def known(
    *rows: tuple[float, float], before: tuple[float, float] = (NAN, NAN), expired: bool = False
) -> Known:
    values = np.array(rows, float).reshape(-1, 2)
    return Known("E", values, np.arange(len(rows)), np.array(before), expired)


def completed(
    one: Known, window: int, policy: MissingPolicy
) -> tuple[list[list[float]], list[tuple[str, int, str]]]:
    values, replaced = complete(one, FEATURES, window, policy=policy, defaults=DEFAULTS)
    return values.tolist(), [(each.feature, each.age, each.status) for each in replaced]


def test_whole_rows_are_read_as_they_are() -> None:
    for policy in ("reject", "default", "last"):
        assert completed(known((1, 2), (3, 4)), 2, policy) == ([[1, 2], [3, 4]], [])


def test_nulls_are_rejected_or_replaced() -> None:
    one = known((1, 2), (NAN, 4))
    with pytest.raises(MissingFeaturesError, match="a is null"):
        completed(one, 2, "reject")
    assert completed(one, 2, "default") == ([[1, 2], [100, 4]], [("a", 0, "null")])
    assert completed(one, 2, "last") == ([[1, 2], [1, 4]], [("a", 0, "null")])


def test_the_last_value_may_be_before_the_window() -> None:
    one = known((NAN, 4), before=(7, NAN))
    assert completed(one, 1, "last") == ([[7, 4]], [("a", 0, "null")])
    with pytest.raises(MissingFeaturesError, match='the policy "last" has no value'):
        completed(known((NAN, 4)), 1, "last")


def test_expired_rows_are_rejected_replaced_or_taken_as_the_last() -> None:
    one = known((1, NAN), expired=True)
    with pytest.raises(MissingFeaturesError, match="a is expired, b is null"):
        completed(one, 1, "reject")
    assert completed(one, 1, "default")[0] == [[100, 200]]
    assert completed(known((1, 2), expired=True), 1, "last") == (
        [[1, 2]],
        [("a", 0, "expired"), ("b", 0, "expired")],
    )


def test_rows_that_are_not_there() -> None:
    with pytest.raises(MissingFeaturesError, match="with 1 of 2 rows"):
        completed(known((1, 2)), 2, "reject")
    with pytest.raises(MissingFeaturesError, match='the policy "last"'):
        completed(known((1, 2)), 2, "last")
    assert completed(known((1, 2)), 2, "default") == (
        [[100, 200], [1, 2]],
        [("a", 1, "missing"), ("b", 1, "missing")],
    )
    with pytest.raises(UnknownEntityError):
        completed(known(), 1, "last")
    assert completed(known(), 1, "default")[0] == [[100, 200]]


def test_what_the_client_gave_is_neither_missing_nor_old() -> None:
    one = Known("E", np.empty((0, 2)), np.empty(0, np.int64), np.full(2, NAN), given={"a": 1.0, "b": 2.0})
    assert completed(one, 1, "reject") == ([[1, 2]], [])
    one = Known(
        "E", np.array([[5.0, NAN]]), np.zeros(1, np.int64), np.full(2, NAN), True, {"a": 1.0, "b": 2.0}
    )
    assert completed(one, 1, "reject") == ([[1, 2]], [])


@given(
    st.integers(1, 4).flatmap(
        lambda window: st.tuples(
            st.just(window),
            st.integers(0, window).flatmap(
                lambda rows: npst.arrays(np.float64, (rows, 2), elements=st.sampled_from([NAN, 1.0, 2.0]))
            ),
        )
    ),
    npst.arrays(np.float64, 2, elements=st.sampled_from([NAN, 9.0])),
    st.booleans(),
    st.sampled_from(["reject", "default", "last"]),
)
def test_no_value_is_made_up_unseen(
    shaped: tuple[int, np.ndarray[tuple[int, int], np.dtype[np.float64]]],
    before: np.ndarray[tuple[int], np.dtype[np.float64]],
    expired: bool,
    policy: MissingPolicy,
) -> None:
    window, rows = shaped
    one = Known("E", rows, np.arange(len(rows)), before, expired)
    try:
        values, replaced = complete(one, FEATURES, window, policy=policy, defaults=DEFAULTS)
    except (MissingFeaturesError, UnknownEntityError):
        return
    assert values.shape == (window, 2)
    assert not np.isnan(values).any()
    told = {(window - 1 - each.age, FEATURES.index(each.feature)): each.value for each in replaced}
    for row in range(window):
        for column in range(2):
            place = row - (window - len(rows))
            if (row, column) in told:
                assert told[row, column] == values[row, column]
            else:
                assert values[row, column] == rows[place, column]
    if policy == "reject":
        assert not replaced
