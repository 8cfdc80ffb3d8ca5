"""How far a regressor is off on average, told from where its inputs and answers lie.

A model of the model's errors, learnt on held-out rows: the expected loss of a row is a mean plus one effect
for the bin of each feature and of the prediction. The mean over a window of a sum of effects needs only how
many rows fall into each bin, which the counters of drift know already: nothing is computed a row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlinfra.monitoring.measured import Measured

MOST_COLUMNS = 32
"""Features with an effect; those that tell most of the error."""
MOST_ROWS = 50_000
PENALTIES = np.geomspace(1e-1, 1e5, 25)
"""Strengths of the shrinkage that are tried, in rows a bin."""


@dataclass(frozen=True, slots=True)
class ExpectedLoss:
    """The mean of a loss, and what each bin adds to it.

    Attributes:
        mean: of the loss on the held-out part.
        effects: of each bin, by name of the feature or prediction; added to the mean.
        deviation: standard deviation of what the effects leave unexplained.
    """

    mean: float
    effects: Mapping[str, NDArray[np.float64]]
    deviation: float

    def over(self, counts: Mapping[str, NDArray[np.int64]]) -> float:
        """Expected mean loss of rows of which ``counts`` fall into the bins of each name; never below 0."""
        added = sum(
            float(effects @ counts[name]) / max(int(counts[name].sum()), 1)
            for name, effects in self.effects.items()
        )
        return max(self.mean + added, 0.0)

    def to_wire(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "mean": self.mean,
            "effects": {name: effects.tolist() for name, effects in self.effects.items()},
            "deviation": self.deviation,
        }

    @classmethod
    def of_wire(cls, wire: Mapping[str, Any]) -> "ExpectedLoss":
        """What `to_wire` gave."""
        return cls(
            mean=float(wire["mean"]),
            effects={
                name: np.asarray(effects, dtype=np.float64) for name, effects in wire["effects"].items()
            },
            deviation=float(wire["deviation"]),
        )


@dataclass(frozen=True, slots=True)
class LossModel:
    """Expected errors of a regressor, in the label's unit.

    Attributes:
        rows: how many held-out rows it was learnt on.
        absolute: of the magnitude of the error.
        square: of its square.
    """

    rows: int
    absolute: ExpectedLoss
    square: ExpectedLoss

    def to_wire(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "rows": self.rows,
            "absolute": self.absolute.to_wire(),
            "square": self.square.to_wire(),
        }

    @classmethod
    def of_wire(cls, wire: Mapping[str, Any]) -> "LossModel":
        """What `to_wire` gave."""
        return cls(
            rows=int(wire["rows"]),
            absolute=ExpectedLoss.of_wire(wire["absolute"]),
            square=ExpectedLoss.of_wire(wire["square"]),
        )


def fit_loss_model(
    bins: Mapping[str, NDArray[np.integer[Any]]], sizes: Mapping[str, int], error: NDArray[np.float64]
) -> LossModel:
    """Learn the expected errors on held-out rows.

    Ridge regression on the bins, its strength chosen by generalised cross-validation (Golub, Heath and Wahba,
    Technometrics 21, 1979), so that features which tell nothing of the error get effects of about 0.

    Args:
        bins: bin of each row, by name of the feature or prediction, (rows,) each.
        sizes: how many bins each has.
        error: predicted minus right, finite, (rows,); at least one.
    """
    rows = len(error)
    taken = np.unique(np.linspace(0, rows - 1, min(rows, MOST_ROWS)).astype(np.int64))
    losses = np.column_stack([np.abs(error[taken]), np.square(error[taken])])
    codes = {name: np.asarray(each)[taken] for name, each in bins.items()}
    names = _telling(codes, sizes, losses[:, 0])
    absolute, square = _ridge([codes[name] for name in names], [sizes[name] for name in names], losses)
    splits = np.cumsum([sizes[name] for name in names])[:-1]
    models = [
        ExpectedLoss(
            mean=float(loss.mean()),
            effects=dict(zip(names, np.split(effects, splits), strict=True)) if names else {},
            deviation=deviation,
        )
        for loss, (effects, deviation) in zip(losses.T, (absolute, square), strict=True)
    ]
    return LossModel(rows, *models)


def estimated_values(
    model: LossModel, counts: Mapping[str, NDArray[np.int64]], rows: int
) -> dict[str, Measured]:
    """Direct estimate of ``mae`` and ``rmse`` of answers without labels; empty where there is none.

    It holds while the errors at given inputs are what they were on the held-out part. Effects of two features
    together that are not the sum of both are not seen.

    Args:
        model: learnt on the held-out part.
        counts: rows by bin, by name of the feature or prediction.
        rows: how many answers.
    """
    if rows == 0:
        return {}
    square = model.square.over(counts)
    root = float(np.sqrt(square))
    samples = float(np.sqrt(1.0 / rows + 1.0 / model.rows))
    square_error = model.square.deviation * samples
    return {
        "mae": Measured(model.absolute.over(counts), model.absolute.deviation * samples),
        "rmse": Measured(root, square_error / (2 * root) if root > 0 else 0.0),
    }


def _telling(
    codes: Mapping[str, NDArray[np.integer[Any]]], sizes: Mapping[str, int], loss: NDArray[np.float64]
) -> list[str]:
    """Of many names those whose bins alone tell most of the loss, in the order given."""

    def told(name: str) -> float:
        counts = np.bincount(codes[name], minlength=sizes[name])
        sums = np.bincount(codes[name], weights=loss - loss.mean(), minlength=sizes[name])
        return float((np.square(sums) / np.maximum(counts, 1)).sum())

    best = sorted(codes, key=told, reverse=True)[:MOST_COLUMNS]
    return [name for name in codes if name in set(best)]


def _ridge(
    codes: Sequence[NDArray[np.integer[Any]]], sizes: Sequence[int], losses: NDArray[np.float64]
) -> list[tuple[NDArray[np.float64], float]]:
    """Effects of all bins in turn, (bins of all names,), and what is left; for each loss, (rows, losses)."""
    from scipy import linalg, sparse

    rows = len(losses)
    if not codes:
        return [(np.zeros(0), float(loss.std())) for loss in losses.T]
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    columns = np.stack(codes, axis=1) + starts
    design = sparse.csr_matrix(
        (np.ones(columns.size), columns.ravel(), np.arange(0, columns.size + 1, columns.shape[1])),
        shape=(rows, int(np.sum(sizes))),
    )
    shares = np.asarray(design.mean(axis=0)).ravel()
    gram = (design.T @ design).toarray() - rows * np.outer(shares, shares)
    strengths, directions = linalg.eigh(gram)
    strengths = np.maximum(strengths, 0.0)
    results = []
    for loss in losses.T:
        centred = loss - loss.mean()
        along = directions.T @ np.asarray(design.T @ centred)
        penalty, left = _best_penalty(strengths, along, centred)
        effects = directions @ (along / (strengths + penalty))
        # Effects are of a row against the held-out mean, where they come to 0 together.
        for start, size in zip(starts, sizes, strict=True):
            own = slice(start, start + size)
            effects[own] -= effects[own] @ shares[own]
        results.append((effects, left))
    return results


def _best_penalty(
    strengths: NDArray[np.float64], along: NDArray[np.float64], centred: NDArray[np.float64]
) -> tuple[float, float]:
    """The penalty of the least cross-validated error, and the deviation that it leaves."""
    rows, total = len(centred), float(np.square(centred).sum())
    best = (np.inf, np.inf, float(np.sqrt(total / rows)))
    for penalty in PENALTIES:
        kept = strengths / (strengths + penalty)
        left = max(total - float((np.square(along) / (strengths + penalty) * (2 - kept)).sum()), 0.0)
        freedom = rows - 1 - float(kept.sum())
        if freedom > 0:
            score = rows * left / freedom**2
            best = min(best, (score, float(penalty), float(np.sqrt(left / freedom))))
    constant = rows * total / max(rows - 1, 1) ** 2
    if constant <= best[0]:
        return np.inf, float(np.sqrt(total / rows))
    return best[1], best[2]
