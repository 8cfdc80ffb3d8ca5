"""Windows stay within their entity, and nothing of a held-out part reaches the training."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlinfra.errors import InvalidInputError
from mlinfra.resources.built_in_training import Validation
from mlinfra.training.errors import TooFewRowsError
from mlinfra.training.rows import LabelledRows
from mlinfra.training.samples import Samples, feature_statistics, make_samples, window_ends
from mlinfra.training.split import chronological_split

DAY = np.timedelta64(1, "D")
START = np.datetime64("2020-01-01", "ns")


@st.composite
def labelled_rows(draw: st.DrawFn) -> LabelledRows:
    """Up to three entities, each with rows on its own days, in order of entity and time."""
    days = [
        sorted(draw(st.sets(st.integers(0, 120), min_size=1, max_size=80)))
        for _ in range(draw(st.integers(1, 3)))
    ]
    entity = np.concatenate([np.full(len(own), number) for number, own in enumerate(days)])
    count = len(entity)
    random = np.random.default_rng(draw(st.integers(0, 2**16)))
    return LabelledRows(
        features=random.normal(size=(count, 2)).astype(np.float32),
        label=random.integers(0, 2, size=count),
        time=START + np.concatenate(days).astype(int) * DAY,
        entity=entity,
        feature_names=("a", "b"),
        classes=(0, 1),
    )


def try_samples(rows: LabelledRows, validation: Validation, window: int) -> Samples | None:
    try:
        return make_samples(rows, validation, window=window)
    except InvalidInputError:
        return None


VALIDATIONS = st.builds(
    Validation,
    validation_fraction=st.floats(0.05, 0.4),
    test_fraction=st.floats(0.05, 0.4),
    embargo=st.integers(0, 8),
)


@given(labelled_rows(), VALIDATIONS, st.integers(1, 12))
def test_no_window_or_label_of_the_training_reaches_into_a_held_out_part(
    rows: LabelledRows, validation: Validation, window: int
) -> None:
    samples = try_samples(rows, validation, window)
    if samples is None:
        return
    times = np.unique(rows.time)
    position = np.searchsorted(times, rows.time)
    first_validated = position[samples.validation.last_rows].min()
    # The label of a training row may look `embargo` rows ahead; the row itself is its newest one.
    assert position[samples.train.last_rows].max() + validation.embargo < first_validated
    assert (
        position[samples.validation.last_rows].max() + validation.embargo
        < position[samples.test.last_rows].min()
    )


@given(labelled_rows(), VALIDATIONS, st.integers(1, 12))
def test_what_is_learnt_does_not_change_with_what_is_held_out(
    rows: LabelledRows, validation: Validation, window: int
) -> None:
    samples = try_samples(rows, validation, window)
    if samples is None:
        return
    times = np.unique(rows.time)
    split = chronological_split(
        len(times),
        validation_fraction=validation.validation_fraction,
        test_fraction=validation.test_fraction,
        embargo=validation.embargo,
    )
    held_out = rows.time >= times[split.train.stop]
    changed = try_samples(
        dataclasses.replace(
            rows,
            features=np.where(held_out[:, None], np.float32(1e6), rows.features),
            label=np.where(held_out, 1 - rows.label, rows.label),
        ),
        validation,
        window,
    )
    assert changed is not None
    ends = samples.train.last_rows
    assert np.array_equal(changed.train.last_rows, ends)
    assert np.array_equal(changed.windows(ends), samples.windows(ends))
    assert np.array_equal(changed.rows.label[ends], rows.label[ends])
    assert np.array_equal(changed.mean, samples.mean)
    assert np.array_equal(changed.scale, samples.scale)


@given(st.lists(st.integers(1, 15), min_size=1, max_size=5), st.integers(1, 12))
def test_windows_never_cross_entities(lengths: list[int], window: int) -> None:
    entity = np.repeat(np.arange(len(lengths)), lengths)
    ends = window_ends(entity, window)
    assert len(ends) == sum(max(0, length - window + 1) for length in lengths)
    assert all(len(set(entity[end - window + 1 : end + 1])) == 1 for end in ends)


def plain_rows(count: int = 100, label: int | None = None) -> LabelledRows:
    values = np.arange(count)
    return LabelledRows(
        features=np.stack([values, np.full(count, 0.1)], axis=1).astype(np.float32),
        label=values % 2 if label is None else np.full(count, label),
        time=START + values * DAY,
        entity=np.zeros(count, dtype=np.int64),
        feature_names=("number", "constant"),
        classes=(0, 1),
    )


def test_a_window_holds_the_rows_up_to_its_last() -> None:
    samples = make_samples(plain_rows(), Validation(), window=3)
    assert samples.windows(np.array([10]))[0, :, 0].tolist() == [8, 9, 10]


def test_held_out_samples_look_back_so_that_every_row_is_tested() -> None:
    samples = make_samples(plain_rows(), Validation(test_fraction=0.2), window=50)
    assert samples.test.last_rows.tolist() == list(range(80, 100))
    assert samples.test.period == "2020-03-21/2020-04-09"


def test_statistics_come_from_the_training_rows_alone() -> None:
    samples = make_samples(plain_rows(), Validation(validation_fraction=0.15, embargo=5), window=3)
    learnt = np.arange(100 - 20 - 5 - 15 - 5)
    assert samples.mean[0] == pytest.approx(learnt.mean())
    assert samples.scale[0] == pytest.approx(learnt.std())


def test_a_constant_feature_is_not_divided_by_its_rounding() -> None:
    _, scale = feature_statistics(np.full((1000, 1), 0.1, dtype=np.float32))
    assert scale.tolist() == [1.0]


def test_a_small_but_real_spread_is_kept() -> None:
    values = 1e6 + np.array([[0.0], [1.0]], dtype=np.float32)
    _, scale = feature_statistics(values)
    assert scale.tolist() == [0.5]


def test_window_longer_than_the_training_part_is_refused() -> None:
    with pytest.raises(TooFewRowsError, match="no whole window of 90 rows in the train part"):
        make_samples(plain_rows(), Validation(), window=90)
