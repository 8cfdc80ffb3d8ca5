"""Chronological hold-out: the oldest times train, newer ones validate, the newest test.

``embargo`` times are dropped before each held-out part, so that a label which looks as many rows
ahead never reaches into it. Pure: works on positions in the order of time, never on values.
"""

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
    """Split ``times`` distinct times.

    Held-out parts take their share of all times, rounded, at least one; the embargo comes out of the
    training part.

    Raises:
        TooFewRowsError: nothing remains to train on.
    """
    held_out = {
        "test": max(1, round(times * test_fraction)),
        "validation": max(1, round(times * validation_fraction)),
    }
    test_start = times - held_out["test"]
    validation_stop = test_start - embargo
    validation_start = validation_stop - held_out["validation"]
    train_stop = validation_start - embargo
    if train_stop < 1:
        raise TooFewRowsError(
            f"{times} rows in time leave none to train on: {held_out['test']} test, {held_out['validation']} "
            f"validate, and {embargo} are dropped before each. Give a longer date range or smaller shares."
        )
    return Split(
        train=range(train_stop),
        validation=range(validation_start, validation_stop),
        test=range(test_start, times),
    )
