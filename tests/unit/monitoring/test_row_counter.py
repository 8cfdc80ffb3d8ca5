"""Counting all features at once equals the textbook's histogram of each."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mlinfra.monitoring.profile import HeldOut, ProfileError, ReferenceProfile, build_profile
from mlinfra.monitoring.references import Cells, NumericReference, Reference, reference_of
from mlinfra.monitoring.row_counter import RowCounter
from mlinfra.monitoring.stretches import Stretches

RANDOM = np.random.default_rng(4)
TRAINED = {
    "normal": RANDOM.normal(size=3000),
    "skewed": np.exp(3 * RANDOM.normal(size=3000)),
    "tied": np.round(RANDOM.normal(size=3000), 1),
    "tiny": RANDOM.normal(size=3000) * 1e-42,
    "huge": RANDOM.normal(size=3000) * 1e38,
    "thirds": RANDOM.integers(-2, 3, 3000) / 3,
    "rooms": RANDOM.integers(0, 6, 3000),
    "open": RANDOM.random(3000) < 0.3,
    "constant": np.full(3000, 7.0),
    "nothing": np.full(3000, np.nan),
}
REFERENCES = [reference_of(name, values) for name, values in TRAINED.items()]
EDGES = [
    bound for each in REFERENCES if each.bounds is not None for bound in each.bounds if np.isfinite(bound)
]
VALUE = (
    st.floats(width=64)
    | st.sampled_from(EDGES)
    | st.sampled_from([0.0, -0.0, 1.0, 2.0, 1 / 3, 7.0, 0.5, 9.0, np.nan, np.inf, -np.inf])
)
MATRIX = st.integers(1, 8).flatmap(
    lambda rows: arrays(np.float64, (rows, len(REFERENCES)), elements=VALUE, fill=st.nothing())
)


def textbook(reference: Reference, values: np.ndarray) -> Cells:
    """By numpy's histogram, or value by value."""
    numbers = values.astype(np.float64)
    present = numbers[~np.isnan(numbers)]
    missing = len(numbers) - len(present)
    if isinstance(reference, NumericReference):
        within = present[(present >= reference.minimum) & (present <= reference.maximum)]
        borders = np.concatenate([[-np.inf], reference.edges, [np.inf]])
        bins, _ = np.histogram(within, bins=borders)
        below, above = (present < reference.minimum).sum(), (present > reference.maximum).sum()
        return np.concatenate([[below], bins, [above, missing]])
    known = [int((present == each).sum()) for each in reference.categories]
    return np.array([*known, len(present) - sum(known), missing])


@given(MATRIX, st.booleans())
def test_each_feature_is_counted_as_the_textbook_does(matrix: np.ndarray, short: bool) -> None:
    with np.errstate(over="ignore"):
        given = matrix.astype(np.float32) if short else matrix
    (counted,) = RowCounter(REFERENCES).count(given, Stretches.whole(len(given)))
    expected = [textbook(each, given[:, place]) for place, each in enumerate(REFERENCES)]
    assert counted.tolist() == np.concatenate(expected).tolist()
    assert counted.tolist() == [
        cells for place, each in enumerate(REFERENCES) for cells in each.count(given[:, place]).tolist()
    ]


@given(MATRIX, st.lists(st.integers(0, 8), max_size=4))
def test_parts_are_counted_as_each_alone(matrix: np.ndarray, cuts: list[int]) -> None:
    counter = RowCounter(REFERENCES)
    borders = sorted({0, len(matrix), *(min(cut, len(matrix)) for cut in cuts)})
    parts = list(pairwise(borders))
    counted = counter.count(matrix, Stretches.of_sizes([high - low for low, high in parts]))
    alone = [counter.count(matrix[low:high], Stretches.whole(high - low))[0] for low, high in parts]
    assert counted.tolist() == [each.tolist() for each in alone]


def test_more_rows_than_a_block_and_whole_numbers() -> None:
    matrix = RANDOM.integers(-3, 9, (1000, len(REFERENCES)))
    (counted,) = RowCounter(REFERENCES).count(matrix, Stretches.whole(1000))
    expected = [textbook(each, matrix[:, place]) for place, each in enumerate(REFERENCES)]
    assert counted.tolist() == np.concatenate(expected).tolist()


def test_more_bounds_than_eight_bits_count() -> None:
    values = RANDOM.normal(size=20_000)
    reference = reference_of("x", values, bins=600)
    (counted,) = RowCounter([reference]).count(values[:, np.newaxis], Stretches.whole(len(values)))
    assert counted.tolist() == reference.counts.tolist()


def test_texts_are_not_compared_with_bounds() -> None:
    with pytest.raises(ValueError, match="texts"):
        RowCounter([reference_of("city", pa.array(["a", "b"]))])


def profile_of(columns: dict[str, object], values: bool) -> ReferenceProfile:
    rows = 200
    held = {name: column[:rows] for name, column in columns.items()}  # type: ignore[index]
    if values:
        outputs = RANDOM.normal(size=(rows, 1))
        return build_profile(columns, HeldOut(held, outputs, outputs[:, 0] + 0.1))  # type: ignore[arg-type]
    outputs = RANDOM.dirichlet([1, 1, 1], rows)
    return build_profile(columns, HeldOut(held, outputs, RANDOM.integers(0, 3, rows)), classes=(0, 1, 2))  # type: ignore[arg-type]


NUMBERS = {name: values for name, values in TRAINED.items() if name not in ("nothing", "huge")}
PROFILES = [profile_of(NUMBERS, values) for values in (False, True)]


@pytest.mark.parametrize("profile", PROFILES)
@given(sizes=st.lists(st.integers(1, 30), min_size=1, max_size=5), seed=st.integers(0, 1000))
def test_parts_of_a_batch_are_counted_as_batches_of_their_own(
    profile: ReferenceProfile, sizes: list[int], seed: int
) -> None:
    generator = np.random.default_rng(seed)
    rows = sum(sizes)
    matrix = generator.normal(size=(rows, len(NUMBERS))) * 3
    outputs = generator.dirichlet([1, 1, 1], rows) if profile.classes else generator.normal(size=(rows, 1))
    parts = profile.count_stretches(matrix, outputs, sizes)
    low = 0
    for size, part in zip(sizes, parts, strict=True):
        own = matrix[low : low + size]
        columns = dict(zip(profile.feature_names, own.T, strict=True))
        for alone in (
            profile.count_matrix(own, outputs[low : low + size]),
            profile.count(columns, outputs[low : low + size]),
        ):
            assert without_sums(part.to_wire()) == without_sums(alone.to_wire())
        low += size


def test_a_profile_with_texts_counts_a_matrix_of_them() -> None:
    profile = profile_of({"city": pa.array(["a", "b"] * 100), "x": RANDOM.normal(size=200)}, values=False)
    matrix = np.array([["a", 0.0], ["c", np.nan], [None, 99.0]], dtype=object)
    outputs = RANDOM.dirichlet([1, 1, 1], 3)
    first, second = profile.count_stretches(matrix, outputs, [1, 2])
    assert first.features["city"].tolist() == [1, 0, 0, 0]
    assert second.features["city"].tolist() == [0, 0, 1, 1]
    assert second.features["x"][[-2, -1]].tolist() == [1, 1]


def test_rows_of_other_features_are_refused() -> None:
    with pytest.raises(ProfileError, match="shape"):
        PROFILES[0].count_matrix(np.zeros((2, 3)), np.full((2, 3), 1 / 3))


def without_sums(wire: dict[str, object]) -> dict[str, object]:
    """All but sums, which are rounded once a part."""
    expected = wire.pop("expected", None)
    if isinstance(expected, dict):
        wire["expected"] = {name: expected[name] for name in ("rows", "confusion", "scores")}
    return wire
