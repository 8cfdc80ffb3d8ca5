"""Which epoch is the best, and when the training stops."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlinfra.resources.built_in_training import EarlyStopping
from mlinfra.training.epochs import Epoch, Patience, Yardstick, yardstick
from mlinfra.training.errors import UnknownMetricError

ACCURACY = Yardstick("val_accuracy", higher_is_better=True)


def epoch(number: int, val_loss: float) -> Epoch:
    return Epoch(
        number=number, train_loss=1.0, val_loss=val_loss, val_metrics={"val_accuracy": 0.5}, seconds=0.1
    )


@pytest.mark.parametrize(
    ("losses", "stopping", "best", "stops_after"),
    [
        ([3, 2, 1], EarlyStopping(patience=1), 3, None),
        ([3, 1, 2, 2, 2], EarlyStopping(patience=2), 2, 4),
        ([3, 2.95, 2.9, 2.85], EarlyStopping(patience=2, min_delta=0.1), 3, 3),
        ([3, 2.94, 2.88, 2.82, 2.76], EarlyStopping(patience=2, min_delta=0.1), 5, None),
        ([1, 2, 3, 4], None, 1, None),
        ([1, 1], EarlyStopping(patience=1), 1, 2),
    ],
)
def test_patience(
    losses: list[float], stopping: EarlyStopping | None, best: int, stops_after: int | None
) -> None:
    patience = Patience(stopping)
    stopped = None
    for number, loss in enumerate(losses, start=1):
        patience.is_best(epoch(number, loss))
        if patience.exhausted:
            stopped = number
            break
    assert patience.best is not None
    assert (patience.best.number, stopped) == (best, stops_after)


LOSSES = st.lists(st.floats(0, 10, allow_nan=False), min_size=1, max_size=30)


@given(LOSSES, st.integers(1, 5), st.floats(0, 1), st.integers(0, 30))
def test_patience_goes_on_from_its_state_as_if_never_interrupted(
    losses: list[float], patience: int, min_delta: float, interrupted_after: int
) -> None:
    stopping = EarlyStopping(patience=patience, min_delta=min_delta)
    whole, first, second = Patience(stopping), Patience(stopping), Patience(stopping)
    epochs = [epoch(number, loss) for number, loss in enumerate(losses, start=1)]
    seen = [whole.is_best(each) for each in epochs]
    before = [first.is_best(each) for each in epochs[:interrupted_after]]
    second.restore(first.state())
    after = [second.is_best(each) for each in epochs[interrupted_after:]]
    assert before + after == seen
    assert (second.best, second.exhausted) == (whole.best, whole.exhausted)


@given(LOSSES)
def test_a_metric_where_more_is_better_is_judged_the_other_way_round(values: list[float]) -> None:
    by_loss, by_accuracy = Patience(None), Patience(None, ACCURACY)
    for number, value in enumerate(values, start=1):
        lower_is_better = epoch(number, value)
        higher_is_better = Epoch(number, 1.0, 0.0, {"val_accuracy": -value}, 0.1)
        assert by_loss.is_best(lower_is_better) == by_accuracy.is_best(higher_is_better)


def test_the_metric_is_the_loss_unless_another_is_named() -> None:
    measures = {"val_accuracy": 0.5}
    assert yardstick(None, measures, higher_is_better=True) == Yardstick()
    assert yardstick(EarlyStopping(), measures, higher_is_better=True) == Yardstick()
    named = EarlyStopping(metric="val_accuracy")
    assert yardstick(named, measures, higher_is_better=True) == ACCURACY
    with pytest.raises(UnknownMetricError, match="there are: val_loss, val_mae"):
        yardstick(named, {"val_mae": 1.0}, higher_is_better=False)


def test_nothing_is_better_than_what_is_not_yet_known() -> None:
    assert Patience(None).state() == {"reference": math.inf, "stale": 0, "best": None}
