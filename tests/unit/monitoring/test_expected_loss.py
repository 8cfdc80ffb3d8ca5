"""Direct estimates of a regressor's errors without labels."""

import numpy as np
import pytest

from mlinfra.monitoring.estimation.expected_loss import LossModel, estimated_values, fit_loss_model

SIZES = {"quiet": 8, "noise": 8, "prediction": 8}


def drawn(seed: int, rows: int, *, rough: float) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Rows whose errors grow with ``noise`` and, less, with the prediction; ``rough`` moves the former."""
    generator = np.random.default_rng(seed)
    bins = {
        "quiet": generator.integers(0, 8, rows),
        "noise": np.minimum(generator.binomial(7, rough, rows), 7),
        "prediction": generator.integers(0, 8, rows),
    }
    error = generator.normal(0, 0.5 + 0.6 * bins["noise"] + 0.1 * bins["prediction"])
    return bins, error


def counts_of(bins: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.bincount(codes, minlength=SIZES[name]) for name, codes in bins.items()}


@pytest.mark.parametrize("rough", [0.1, 0.3, 0.7])
def test_errors_are_estimated_where_the_inputs_drift(rough: float) -> None:
    model = fit_loss_model(drawn_bins := drawn(1, 8000, rough=0.4)[0], SIZES, drawn(1, 8000, rough=0.4)[1])
    assert set(drawn_bins) == set(model.absolute.effects)
    bins, error = drawn(2, 8000, rough=rough)
    estimated = estimated_values(model, counts_of(bins), 8000)
    mae, rmse = np.abs(error).mean(), np.sqrt(np.square(error).mean())
    assert estimated["mae"].value == pytest.approx(mae, rel=0.06)
    assert estimated["rmse"].value == pytest.approx(rmse, rel=0.08)


def test_the_estimate_on_the_held_out_part_is_its_mean() -> None:
    bins, error = drawn(3, 500, rough=0.4)
    estimated = estimated_values(fit_loss_model(bins, SIZES, error), counts_of(bins), 500)
    assert estimated["mae"].value == pytest.approx(np.abs(error).mean())
    assert estimated["rmse"].value == pytest.approx(np.sqrt(np.square(error).mean()))


def test_features_that_tell_nothing_move_nothing() -> None:
    generator = np.random.default_rng(4)
    bins = {f"f{number}": generator.integers(0, 10, 1000) for number in range(50)}
    model = fit_loss_model(bins, dict.fromkeys(bins, 10), generator.normal(size=1000))
    assert len(model.absolute.effects) == 32
    elsewhere = {name: np.eye(10, dtype=np.int64)[3] * 1000 for name in bins}
    estimated = estimated_values(model, elsewhere, 1000)["mae"]
    assert abs(estimated.value - model.absolute.mean) < 0.15


def test_standard_errors_are_those_of_repeated_windows() -> None:
    off, told = [], []
    for seed in range(200):
        model = fit_loss_model(*(lambda drew: (drew[0], SIZES, drew[1]))(drawn(seed, 400, rough=0.4)))
        bins, error = drawn(10_000 + seed, 400, rough=0.4)
        estimated = estimated_values(model, counts_of(bins), 400)["mae"]
        off.append(estimated.value - np.abs(error).mean())
        told.append(estimated.error)
    assert np.mean(told) == pytest.approx(np.std(off), rel=0.25)


def test_one_row_and_no_feature_are_no_crash() -> None:
    model = fit_loss_model({}, {}, np.array([2.0]))
    assert estimated_values(model, {}, 10)["mae"].value == 2
    assert estimated_values(model, {}, 0) == {}
    one = fit_loss_model({"a": np.array([1])}, {"a": 3}, np.array([-2.0]))
    assert estimated_values(one, {"a": np.array([0, 0, 5])}, 5)["mae"].value == 2


def test_a_loss_is_never_negative() -> None:
    bins, error = drawn(5, 3000, rough=0.9)
    model = fit_loss_model(bins, SIZES, error)
    calm = {name: np.eye(8, dtype=np.int64)[0] * 100 for name in SIZES}
    assert estimated_values(model, calm, 100)["mae"].value >= 0


def test_a_model_survives_its_wire_form() -> None:
    bins, error = drawn(6, 200, rough=0.4)
    model = fit_loss_model(bins, SIZES, error)
    assert LossModel.of_wire(model.to_wire()).to_wire() == model.to_wire()
    assert estimated_values(LossModel.of_wire(model.to_wire()), counts_of(bins), 200) == estimated_values(
        model, counts_of(bins), 200
    )
