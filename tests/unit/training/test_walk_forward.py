"""Walk-forward folds: ordered blocks that cover the newest times, and nothing known too early."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mlinfra.training.errors import TooFewRowsError
from mlinfra.training.split import Split, chronological_split, walk_forward_splits


@st.composite
def arguments(draw: st.DrawFn) -> dict[str, object]:
    validation, test = draw(st.floats(0.01, 0.5)), draw(st.floats(0.01, 0.5))
    assume(validation + test < 1)
    sliding = draw(st.booleans())
    return {
        "times": draw(st.integers(1, 3000)),
        "folds": draw(st.integers(1, 12)),
        "validation_fraction": validation,
        "test_fraction": test,
        "embargo": draw(st.integers(0, 40)),
        "sliding": sliding,
        "window_size": draw(st.none() | st.integers(1, 500)) if sliding else None,
    }


def try_splits(**given_arguments: object) -> tuple[Split, ...]:
    try:
        return walk_forward_splits(**given_arguments)  # type: ignore[arg-type]
    except TooFewRowsError:
        assume(False)
        raise


@given(arguments())
def test_blocks_are_ordered_disjoint_alike_and_cover_the_newest_times(tried: dict[str, int]) -> None:
    splits = try_splits(**tried)
    assert len(splits) == tried["folds"]
    covered = [position for split in splits for position in split.test]
    assert covered == list(range(covered[0], tried["times"]))
    assert len(covered) == max(tried["folds"], round(tried["times"] * tried["test_fraction"]))
    lengths = [len(split.test) for split in splits]
    assert max(lengths) - min(lengths) <= 1
    assert min(lengths) >= 1


@given(arguments())
def test_no_label_reaches_into_what_is_held_out_after_it(tried: dict[str, int]) -> None:
    for split in try_splits(**tried):
        # A label looks at most `embargo` times ahead of its row.
        assert split.train[-1] + tried["embargo"] < split.validation[0]
        assert split.validation[-1] + tried["embargo"] < split.test[0]
        assert split.train.start >= 0
        assert all(len(part) >= 1 for part in split.parts().values())


@given(arguments())
def test_expanding_folds_keep_the_beginning_and_sliding_ones_their_length(tried: dict[str, int]) -> None:
    splits = try_splits(**tried)
    if tried["sliding"]:
        assert {len(split.train) for split in splits} == {tried["window_size"] or len(splits[0].train)}
    else:
        assert {split.train.start for split in splits} == {0}
    ends = [split.train.stop for split in splits]
    assert ends == sorted(set(ends))
    assert len({len(split.validation) for split in splits}) == 1


@given(arguments())
def test_the_newest_fold_of_one_is_the_hold_out(tried: dict[str, int]) -> None:
    (fold,) = try_splits(**tried | {"folds": 1, "sliding": False, "window_size": None})
    names = ("times", "validation_fraction", "test_fraction", "embargo")
    times, validation, test, embargo = (tried[name] for name in names)
    assert fold == chronological_split(
        times, validation_fraction=validation, test_fraction=test, embargo=embargo
    )


def test_refusals_say_what_is_missing() -> None:
    shares = {"validation_fraction": 0.1, "test_fraction": 0.2, "embargo": 5}
    with pytest.raises(TooFewRowsError, match="20 rows in time leave none to train on: 12 test, 2 validate"):
        walk_forward_splits(20, folds=12, **shares)
    with pytest.raises(
        TooFewRowsError, match="leave 60 for the first fold to train on, fewer than windowSize 61"
    ):
        walk_forward_splits(100, folds=4, sliding=True, window_size=61, **shares)
