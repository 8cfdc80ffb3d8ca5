"""How far a regressor is off on average, told from where its inputs and answers lie.

A model of the model's errors, learnt on held-out rows: a regression tree over the features and the
prediction, whose leaves hold the mean error of what falls into them. The expected error of a window needs
only how many rows fell into each leaf: a few whole numbers that add up, counted on the serving path.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlinfra.monitoring.measured import Measured
from mlinfra.monitoring.stretches import Stretches

MOST_LEAVES = 64
FEWEST_ROWS = 30
"""Held-out rows that a leaf needs, so that its mean error means something."""


@dataclass(frozen=True, slots=True)
class LossTree:
    """Expected errors of a regressor, in the label's unit.

    Attributes:
        column: what each node asks: a feature's place, or the prediction where it is their number; -1 for a
            leaf, (nodes,).
        threshold: a row goes left where its value is not above, (nodes,).
        missing_left: whether a row without a value goes left, (nodes,).
        left, right: the next node; of a leaf, its number, (nodes,).
        rows: held-out rows of each leaf, (leaves,).
        absolute, absolute_variance: mean and variance of the error's magnitude there, (leaves,).
        square, square_variance: of its square, (leaves,).
    """

    column: NDArray[np.int64]
    threshold: NDArray[np.float64]
    missing_left: NDArray[np.bool_]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    rows: NDArray[np.int64]
    absolute: NDArray[np.float64]
    absolute_variance: NDArray[np.float64]
    square: NDArray[np.float64]
    square_variance: NDArray[np.float64]

    def tally(
        self, features: NDArray[np.floating[Any]], values: NDArray[np.floating[Any]]
    ) -> NDArray[np.int64]:
        """How many answers fall into each leaf, (leaves,).

        Args:
            features: NaN where missing, (rows, features).
            values: predicted, (rows,).
        """
        alone: NDArray[np.int64] = self.tallies(features, values, Stretches.whole(len(values)))[0]
        return alone

    def tallies(
        self,
        features: NDArray[np.floating[Any]],
        values: NDArray[np.floating[Any]],
        stretches: Stretches,
    ) -> NDArray[np.int64]:
        """As `tally`, of each part of the rows, (parts, leaves)."""
        asked = np.column_stack([features, values]).astype(np.float32)
        places = np.arange(len(asked))
        node = np.zeros(len(asked), dtype=np.int64)
        inner = self.column[node] >= 0
        while inner.any():
            at, value = node[inner], asked[places[inner], self.column[node[inner]]]
            to_left = np.where(np.isnan(value), self.missing_left[at], value <= self.threshold[at])
            node[inner] = np.where(to_left, self.left[at], self.right[at])
            inner = self.column[node] >= 0
        return stretches.counted(self.left[node], len(self.rows))

    def to_wire(self) -> dict[str, Any]:
        """As JSON."""
        return {field.name: getattr(self, field.name).tolist() for field in fields(self)}

    @classmethod
    def of_wire(cls, wire: Mapping[str, Any]) -> "LossTree":
        """What `to_wire` gave."""
        whole = {"column", "left", "right", "rows"}
        kinds: dict[str, Any] = dict.fromkeys(whole, np.int64) | {"missing_left": np.bool_}
        return cls(
            **{
                field.name: np.asarray(wire[field.name], dtype=kinds.get(field.name, np.float64))
                for field in fields(cls)
            }
        )


def fit_loss_tree(
    features: NDArray[np.floating[Any]], values: NDArray[np.floating[Any]], error: NDArray[np.float64]
) -> LossTree:
    """Learn the expected errors on held-out rows.

    Args:
        features: NaN where missing, (rows, features).
        values: predicted, finite, (rows,).
        error: predicted minus right, finite, (rows,); at least one.
    """
    from sklearn.tree import DecisionTreeRegressor

    asked = np.column_stack([features, values]).astype(np.float32)
    size = np.abs(error)
    fitted = DecisionTreeRegressor(
        max_leaf_nodes=MOST_LEAVES, min_samples_leaf=min(FEWEST_ROWS, len(error)), random_state=0
    ).fit(asked, size)
    tree = fitted.tree_
    leaf = tree.children_left < 0
    number = np.cumsum(leaf) - 1
    place = number[fitted.apply(asked)]
    rows = np.bincount(place)
    absolute, absolute_variance = _spread(place, size, rows)
    square, square_variance = _spread(place, np.square(error), rows)
    return LossTree(
        column=np.where(leaf, -1, tree.feature).astype(np.int64),
        threshold=np.where(leaf, 0.0, tree.threshold),
        missing_left=tree.missing_go_to_left.astype(np.bool_),
        left=np.where(leaf, number, tree.children_left).astype(np.int64),
        right=np.where(leaf, number, tree.children_right).astype(np.int64),
        rows=rows.astype(np.int64),
        absolute=absolute,
        absolute_variance=absolute_variance,
        square=square,
        square_variance=square_variance,
    )


def estimated_values(tree: LossTree, tally: NDArray[np.int64]) -> dict[str, Measured]:
    """Direct estimate of ``mae`` and ``rmse`` of answers without labels; empty where there is none.

    It holds while the errors at given inputs are what they were on the held-out part: drift of the inputs is
    seen, a change of what the label means is not.

    Args:
        tree: learnt on the held-out part.
        tally: how many answers fell into each leaf, (leaves,).
    """
    rows = int(tally.sum())
    if rows == 0:
        return {}
    share = tally / rows
    absolute, absolute_error = _expected(tree.absolute, tree.absolute_variance, tree.rows, share, rows)
    square, square_error = _expected(tree.square, tree.square_variance, tree.rows, share, rows)
    root = float(np.sqrt(square))
    return {
        "mae": Measured(absolute, absolute_error),
        "rmse": Measured(root, square_error / (2 * root) if root > 0 else 0.0),
    }


def _spread(
    place: NDArray[np.intp], loss: NDArray[np.float64], rows: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    mean = np.bincount(place, weights=loss) / rows
    variance = np.bincount(place, weights=np.square(loss - mean[place])) / np.maximum(rows - 1, 1)
    return mean, variance


def _expected(
    mean: NDArray[np.float64],
    variance: NDArray[np.float64],
    held_out: NDArray[np.int64],
    share: NDArray[np.float64],
    rows: int,
) -> tuple[float, float]:
    """Mean loss, and its standard error: of the window's rows, and of the leaves' own means."""
    expected = float(share @ mean)
    of_rows = float(share @ (variance + np.square(mean - expected))) / rows
    of_leaves = float((np.square(share) * variance / held_out).sum())
    return expected, float(np.sqrt(of_rows + of_leaves))
