"""What rows of rare cells alone score."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mlinfra.monitoring.rare_rows import NO_RARE_ROWS, RareRows, rare_rows
from mlinfra.monitoring.references import reference_of

CHANCES = st.lists(st.floats(0, 1), min_size=1, max_size=20).map(lambda found: sorted(found, reverse=True))


@st.composite
def rows_in_rare_cells(draw: st.DrawFn) -> RareRows:
    chances = draw(CHANCES)
    scores = draw(st.lists(st.floats(0, 10), min_size=len(chances), max_size=len(chances)).map(sorted))
    # Of equal scores the first one's chance counts.
    return RareRows(tuple(scores), tuple(chances[scores.index(score)] for score in scores))


@given(rows_in_rare_cells(), st.floats(0, 11))
def test_the_rows_that_reach_a_score_are_the_most_probable_of_those_beyond(
    rare: RareRows, score: float
) -> None:
    beyond = [chance for reached, chance in zip(rare.scores, rare.chances, strict=True) if reached >= score]
    assert rare.probability(score) == max(beyond, default=0.0)


@given(rows_in_rare_cells(), st.floats(1e-9, 1))
def test_the_score_of_a_probability_is_the_highest_that_is_as_probable(
    rare: RareRows, probability: float
) -> None:
    as_probable = [
        score for score, chance in zip(rare.scores, rare.chances, strict=True) if chance >= probability
    ]
    assert rare.score_at(probability) == max(as_probable, default=0.0)


def test_more_rows_of_a_rare_cell_score_more_and_are_less_probable() -> None:
    rare = rare_rows(reference_of("x", np.arange(20_000) % 1000 == 0), 500, "JensenShannon")
    assert len(rare.scores) > 10
    assert list(rare.scores) == sorted(rare.scores)
    assert list(rare.chances) == sorted(rare.chances, reverse=True)
    assert rare.chances[0] == 1.0
    # Half a row is expected: ten are no chance.
    ten = rare_rows(reference_of("x", np.arange(20_000) % 1000 == 0), 500, "PSI").score_at(1e-6)
    assert 0 < ten < 1


def test_where_no_cell_is_rare_nothing_is_bounded() -> None:
    values = np.arange(20_000.0)
    values[::10] = np.nan
    assert rare_rows(reference_of("x", values), 500, "PSI") == NO_RARE_ROWS
