"""What the rows of one cell alone score."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mlinfra.monitoring.references import reference_of
from mlinfra.monitoring.rows_of_one_cell import RowsOfOneCell, _later_rows, rows_of_one_cell

CHANCES = st.lists(st.floats(0, 1), min_size=1, max_size=20).map(lambda found: sorted(found, reverse=True))


@st.composite
def rows_of_a_cell(draw: st.DrawFn) -> RowsOfOneCell:
    chances = draw(CHANCES)
    scores = draw(st.lists(st.floats(0, 10), min_size=len(chances), max_size=len(chances)).map(sorted))
    # Of equal scores the first one's chance counts.
    return RowsOfOneCell(tuple(scores), tuple(chances[scores.index(score)] for score in scores))


@given(rows_of_a_cell(), st.floats(0, 11))
def test_the_rows_that_reach_a_score_are_the_most_probable_of_those_beyond(
    found: RowsOfOneCell, score: float
) -> None:
    beyond = [chance for reached, chance in zip(found.scores, found.chances, strict=True) if reached >= score]
    assert found.probability(score) == max(beyond, default=0.0)


@given(rows_of_a_cell(), st.floats(1e-9, 1))
def test_the_score_of_a_probability_is_the_highest_that_is_as_probable(
    found: RowsOfOneCell, probability: float
) -> None:
    as_probable = [
        score for score, chance in zip(found.scores, found.chances, strict=True) if chance >= probability
    ]
    assert found.score_at(probability) == max(as_probable, default=0.0)


def test_more_rows_of_a_rare_cell_score_more_and_are_less_probable() -> None:
    found = rows_of_one_cell(reference_of("x", np.arange(20_000) % 1000 == 0), 500, "JensenShannon")
    assert len(found.scores) > 10
    assert list(found.scores) == sorted(found.scores)
    assert list(found.chances) == sorted(found.chances, reverse=True)
    assert found.chances[0] > 0.5
    # Half a row is expected: ten are no chance.
    ten = rows_of_one_cell(reference_of("x", np.arange(20_000) % 1000 == 0), 500, "PSI").score_at(1e-6)
    assert 0 < ten < 1


@given(st.integers(0, 500), st.integers(1, 400))
def test_the_chances_are_the_beta_binomial_laws(there: int, size: int) -> None:
    rows, beyond = _later_rows(there, 500, size)
    law = stats.betabinom(size, there + 0.5, 500 - there + 0.5)
    every = np.arange(size + 1)
    # Its own tails are less exact than their sums.
    expected = [
        law.pmf(every[every >= here] if here >= law.mean() - 1e-9 else every[every <= here]).sum()
        for here in rows.tolist()
    ]
    np.testing.assert_allclose(beyond, expected, rtol=1e-6, atol=1e-10)
