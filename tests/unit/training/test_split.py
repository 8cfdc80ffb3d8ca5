"""The chronological hold-out keeps its order, its shares and its embargo."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mlinfra.training.errors import TooFewRowsError
from mlinfra.training.split import Split, chronological_split

FRACTIONS = st.floats(min_value=0.01, max_value=0.6)


def try_split(times: int, validation: float, test: float, embargo: int) -> Split | None:
    try:
        return chronological_split(times, validation_fraction=validation, test_fraction=test, embargo=embargo)
    except TooFewRowsError:
        return None


@given(st.integers(1, 5000), FRACTIONS, FRACTIONS, st.integers(0, 60))
def test_parts_are_in_order_with_the_embargo_between(
    times: int, validation: float, test: float, embargo: int
) -> None:
    assume(validation + test < 1)
    split = try_split(times, validation, test, embargo)
    assume(split is not None)
    assert split is not None
    assert split.train.start == 0
    assert split.validation.start - split.train.stop == embargo
    assert split.test.start - split.validation.stop == embargo
    assert split.test.stop == times
    assert all(len(part) >= 1 for part in split.parts().values())


@given(st.integers(1, 5000), FRACTIONS, FRACTIONS, st.integers(0, 60))
def test_held_out_parts_have_their_share_of_all_times(
    times: int, validation: float, test: float, embargo: int
) -> None:
    assume(validation + test < 1)
    split = try_split(times, validation, test, embargo)
    assume(split is not None)
    assert split is not None
    assert abs(len(split.validation) - max(1, times * validation)) <= 0.5
    assert abs(len(split.test) - max(1, times * test)) <= 0.5


@given(st.integers(1, 2000), FRACTIONS, FRACTIONS, st.integers(0, 60))
def test_it_refuses_only_where_nothing_remains_to_train_on(
    times: int, validation: float, test: float, embargo: int
) -> None:
    assume(validation + test < 1)
    held_out = max(1, round(times * validation)) + max(1, round(times * test)) + 2 * embargo
    assert (try_split(times, validation, test, embargo) is None) == (held_out >= times)


def test_refusal_says_what_takes_the_rows() -> None:
    with pytest.raises(TooFewRowsError, match="12 rows in time leave none to train on: 2 test, 2 validate"):
        chronological_split(12, validation_fraction=0.15, test_fraction=0.2, embargo=5)
