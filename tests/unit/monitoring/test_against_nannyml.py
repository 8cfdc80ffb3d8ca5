"""Estimates without labels against those of NannyML on the samples that it ships.

Its answers are kept in ``tests/oracles/nannyml_estimates.json``, the last line that
``benchmarks/rival_scripts/nannyml_estimates.py`` writes; the samples are synthetic.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlinfra.monitoring.estimation.calibration import estimated_classes, fit_calibration
from mlinfra.monitoring.estimation.expected_loss import estimated_values, fit_loss_tree

ANSWERS = json.loads((Path(__file__).parents[2] / "oracles" / "nannyml_estimates.json").read_text())


def rows_of(cells: list[list[int]]) -> np.ndarray:
    """Every row as often as it occurs."""
    table = np.array(cells)
    return np.repeat(table[:, :-1], table[:, -1], axis=0)


def both(percent: np.ndarray) -> np.ndarray:
    return np.column_stack([100 - percent, percent]) / 100


def test_two_classes_are_estimated_as_nannyml_does() -> None:
    sample = ANSWERS["binary"]
    reference = rows_of(sample["reference"])
    calibration = fit_calibration(both(reference[:, 0]), reference[:, 1])
    for cells, told in zip(sample["chunks"], sample["answers"], strict=True):
        ours = estimated_classes(calibration, calibration.tally(both(rows_of(cells)[:, 0])))
        for name, theirs in told.items():
            assert ours[name].value == pytest.approx(theirs["estimated"], abs=1e-4), name
            assert abs(ours[name].value - theirs["realised"]) < 0.03, name


def test_three_classes_are_estimated_as_nannyml_does() -> None:
    sample = ANSWERS["multiclass"]
    reference = rows_of(sample["reference"])
    calibration = fit_calibration(reference[:, :3] / 100, reference[:, 3])
    for cells, told in zip(sample["chunks"], sample["answers"], strict=True):
        ours = estimated_classes(calibration, calibration.tally(rows_of(cells) / 100))
        for name, theirs in told.items():
            assert ours[name].value == pytest.approx(theirs["estimated"], abs=2e-3), name


def test_values_are_estimated_about_as_well_as_by_nannyml() -> None:
    sample = ANSWERS["value"]
    tree = fit_loss_tree(*values_of(sample["reference"]))
    off: dict[str, list[tuple[float, float]]] = {"mae": [], "rmse": []}
    for rows, told in zip(sample["chunks"], sample["answers"], strict=True):
        features, values, _ = values_of(rows)
        ours = estimated_values(tree, tree.tally(features, values))
        for name, theirs in told.items():
            measure = ours[name]
            assert measure.value == pytest.approx(theirs["estimated"], rel=0.06), name
            assert abs(measure.value - theirs["realised"]) < 4 * measure.error, name
            off[name].append((measure.value - theirs["realised"], theirs["estimated"] - theirs["realised"]))
    for name, pairs in off.items():
        ours_off, theirs_off = np.sqrt(np.square(pairs).mean(axis=0))
        assert ours_off < 1.5 * theirs_off, name


def values_of(rows: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, predictions and errors."""
    table = np.array(rows, dtype=np.float64)
    return table[:, :-2], table[:, -2], table[:, -2] - table[:, -1]
