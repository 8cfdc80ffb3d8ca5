"""The reference profile: what it keeps, counts and refuses."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlinfra.monitoring.counts import Counts
from mlinfra.monitoring.profile import HeldOut, ProfileError, ReferenceProfile, build_profile

RANDOM = np.random.default_rng(11)
ROWS = 2000
FEATURES = RANDOM.normal(size=(ROWS, 3))
COLUMNS = {"a": FEATURES[:, 0], "b": FEATURES[:, 1], "n": RANDOM.integers(0, 3, ROWS)}
MATRIX = np.column_stack(list(COLUMNS.values()))
PROBABILITY = 1 / (1 + np.exp(-FEATURES[:, 0]))
OUTPUTS = np.column_stack([1 - PROBABILITY, PROBABILITY])
LABEL = (RANDOM.random(ROWS) < PROBABILITY).astype(np.int64)
VALUES = FEATURES[:, :1] * 2
RIGHT = VALUES[:, 0] + RANDOM.normal(size=ROWS) * 0.3

CLASSES = build_profile(
    COLUMNS,
    HeldOut(COLUMNS, OUTPUTS, LABEL),
    classes=("calm", "turbulent"),
    performance={"accuracy": 0.7},
    model_name="m",
    periods={"train": "2020-01-01/2021-01-01"},
)
REGRESSION = build_profile(COLUMNS, HeldOut(COLUMNS, VALUES, RIGHT), performance={"mae": 0.24})


@pytest.mark.parametrize("profile", [CLASSES, REGRESSION])
def test_a_profile_is_the_same_after_json(profile: ReferenceProfile) -> None:
    read = ReferenceProfile.of_json(profile.to_json())
    assert read.to_json() == profile.to_json()
    assert read.id == profile.id
    assert read.performance == profile.performance


def test_blocks_add_up_to_the_training_rows() -> None:
    for reference in CLASSES.features:
        assert (CLASSES.blocks[reference.name].sum(axis=0) == reference.counts).all()


@pytest.mark.parametrize("profile", [CLASSES, REGRESSION])
@given(cut=st.integers(0, ROWS), every=st.integers(1, 9))
def test_rows_whose_features_nobody_knows_count_by_their_answers_alone(
    profile: ReferenceProfile, cut: int, every: int
) -> None:
    outputs = OUTPUTS if profile.classes else VALUES
    known = np.arange(ROWS) % every == 0
    matrix = np.where(known[:, np.newaxis], MATRIX, np.nan)
    parts = profile.count_stretches(matrix, outputs, [cut, ROWS - cut], known)
    whole = profile.count_matrix(MATRIX, outputs)
    features = profile.count_matrix(MATRIX[known], outputs[known])
    found = parts[0] + parts[1]
    assert (found.rows, found.with_features) == (ROWS, int(known.sum()))
    assert found.prediction.tolist() == whole.prediction.tolist()
    assert found.cells.tolist() == features.cells.tolist()
    assert (found.expected is None) == (whole.expected is None)
    if found.leaves is not None:
        assert found.leaves.sum() == known.sum()


@pytest.mark.parametrize("profile", [CLASSES, REGRESSION])
@given(cut=st.integers(0, ROWS))
def test_counts_of_batches_add_up(profile: ReferenceProfile, cut: int) -> None:
    outputs = OUTPUTS if profile.classes else VALUES
    whole = profile.count_matrix(MATRIX, outputs)
    parts = profile.count_matrix(MATRIX[:cut], outputs[:cut]) + profile.count_matrix(
        MATRIX[cut:], outputs[cut:]
    )
    assert _without_sums(parts) == _without_sums(whole)
    assert parts.rows == ROWS


@pytest.mark.parametrize("profile", [CLASSES, REGRESSION])
def test_counts_are_the_same_after_json(profile: ReferenceProfile) -> None:
    outputs = OUTPUTS if profile.classes else VALUES
    label = [profile.classes[place] for place in LABEL] if profile.classes else list(RIGHT)
    counted = profile.count_matrix(MATRIX, outputs) + profile.count_labels(outputs, label)
    wire = json.loads(json.dumps(counted.to_wire()))
    assert Counts.of_wire(wire, classes=bool(profile.classes)).to_wire() == counted.to_wire()
    assert counted.labelled == ROWS


def test_a_label_that_is_no_class_counts_nothing() -> None:
    with pytest.raises(ProfileError, match="stormy"):
        CLASSES.count_labels(OUTPUTS[:2], ["calm", "stormy"])
    with pytest.raises(ProfileError, match="finite"):
        REGRESSION.count_labels(VALUES[:1], [float("nan")])


def test_rows_of_another_model_are_refused() -> None:
    with pytest.raises(ProfileError, match="b"):
        CLASSES.count({"a": COLUMNS["a"], "n": COLUMNS["n"]}, OUTPUTS)
    with pytest.raises(ProfileError, match="shape"):
        CLASSES.count(COLUMNS, VALUES)


@pytest.mark.parametrize(
    "content",
    [b"", b"no json", b"[]", b"{}", b'{"schemaVersion": 1}', CLASSES.to_json()[:-200]],
)
def test_a_damaged_profile_is_refused(content: bytes) -> None:
    with pytest.raises(ProfileError, match="damaged"):
        ReferenceProfile.of_json(content)


def test_a_profile_of_another_schema_version_says_what_to_do() -> None:
    wire = json.loads(CLASSES.to_json()) | {"schemaVersion": 2}
    with pytest.raises(ProfileError, match="train the model again"):
        ReferenceProfile.of_json(json.dumps(wire).encode())


def test_cells_and_blocks_that_do_not_fit_are_refused() -> None:
    wire = json.loads(CLASSES.to_json())
    wire["blocks"]["a"] = [[1, 2, 3]]
    with pytest.raises(ProfileError, match="damaged"):
        ReferenceProfile.of_json(json.dumps(wire).encode())


def test_a_profile_is_made_of_few_rows_too() -> None:
    few = {name: values[:3] for name, values in COLUMNS.items()}
    profile = build_profile(few, HeldOut(few, OUTPUTS[:3], LABEL[:3]), classes=(0, 1))
    assert profile.count(few, OUTPUTS[:3]).rows == 3
    assert profile.usual("a", 100, "PSI").score_at(0.01) > 0


@pytest.mark.parametrize("method", ["PSI", "JensenShannon", "KolmogorovSmirnov", "Wasserstein", "ChiSquared"])
def test_usual_scores_grow_with_smaller_windows_but_for_statistics(method: str) -> None:
    small, large = (CLASSES.usual("a", rows, method).score_at(0.01) for rows in (50, 2000))  # type: ignore[arg-type]
    assert small > large or method == "ChiSquared"


def _without_sums(counts: Counts) -> dict[str, object]:
    """All but sums of products, which are rounded once a batch."""
    wire = counts.to_wire()
    for name in ("expected", "measured"):
        if name in wire:
            wire[name] = {key: value for key, value in wire[name].items() if key not in ("logLoss", "brier")}
    return wire
