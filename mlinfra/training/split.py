"""What trains, validates and tests, in the order of time: hold-out, and walk-forward over several folds.

``embargo`` times are dropped before each held-out part, so that a label which looks as many rows
ahead never reaches into it. Pure: works on positions in the order of time, never on values.

::

    hold-out       train train train train train . validate . test  test  test
    walk-forward   train train train . validate . test
                   train train train train . validate . test
                   train train train train train . validate . test
    sliding              train train train . validate . test
"""

import itertools
from dataclasses import dataclass

from mlinfra.training.errors import TooFewRowsError


@dataclass(frozen=True, slots=True)
class Split:
    """Positions of the distinct times in each part, oldest first."""

    train: range
    validation: range
    test: range

    def parts(self) -> dict[str, range]:
        """The parts by name, oldest first."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


def chronological_split(
    times: int, *, validation_fraction: float, test_fraction: float, embargo: int
) -> Split:
    """Hold out the newest times once.

    Held-out parts take their share of all times, rounded, at least one; the embargo comes out of the
    training part.

    Raises:
        TooFewRowsError: nothing remains to train on.
    """
    (split,) = walk_forward_splits(
        times,
        folds=1,
        validation_fraction=validation_fraction,
        test_fraction=test_fraction,
        embargo=embargo,
    )
    return split


def walk_forward_splits(
    times: int,
    *,
    folds: int,
    validation_fraction: float,
    test_fraction: float,
    embargo: int,
    sliding: bool = False,
    window_size: int | None = None,
) -> tuple[Split, ...]:
    """Cut the newest times into blocks, and let each be tested by what was known before it.

    Args:
        times: distinct times there are.
        folds: blocks, next to each other and as long as each other, give or take one time.
        validation_fraction: share of all times that validates before each block.
        test_fraction: share of all times that the blocks cover together.
        embargo: times dropped before each held-out part.
        sliding: whether every fold trains on as many times, instead of on all that came before.
        window_size: how many; as many as the first fold has where absent.

    Returns:
        A split for each block, oldest first.

    Raises:
        TooFewRowsError: the first fold has nothing to train on, or less than ``window_size``.
    """
    tested = max(folds, round(times * test_fraction))
    validated = max(1, round(times * validation_fraction))
    edges = [times - (folds - number) * tested // folds for number in range(folds + 1)]
    train_stop = edges[0] - embargo - validated - embargo
    if train_stop < 1:
        raise TooFewRowsError(
            f"{times} rows in time leave none to train on: {tested} test, {validated} "
            f"validate, and {embargo} are dropped before each. Give a longer date range or smaller shares."
        )
    trained = (window_size or train_stop) if sliding else None
    if trained is not None and trained > train_stop:
        raise TooFewRowsError(
            f"{times} rows in time leave {train_stop} for the first fold to train on, fewer than "
            f"windowSize {trained}. Give a longer date range, or a smaller windowSize or testFraction."
        )
    return tuple(
        _split_before(range(start, stop), validated=validated, embargo=embargo, trained=trained)
        for start, stop in itertools.pairwise(edges)
    )


def _split_before(test: range, *, validated: int, embargo: int, trained: int | None) -> Split:
    """The split that tests one block; it trains on the newest ``trained`` times, on all where None."""
    validation_stop = test.start - embargo
    validation_start = validation_stop - validated
    train_stop = validation_start - embargo
    return Split(
        train=range(train_stop - trained if trained is not None else 0, train_stop),
        validation=range(validation_start, validation_stop),
        test=test,
    )
