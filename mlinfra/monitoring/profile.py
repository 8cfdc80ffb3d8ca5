"""The reference profile: what a model learnt from and how good it was, small enough to be kept beside it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from mlinfra.errors import InvalidInputError
from mlinfra.monitoring.calibration import UsualScores, block_starts, usual_scores
from mlinfra.monitoring.class_tally import ClassTally, tally_labels
from mlinfra.monitoring.counts import CellLayout, Counts, cell_layout
from mlinfra.monitoring.estimation.calibration import Calibration, fit_calibration
from mlinfra.monitoring.estimation.expected_loss import LossTree, fit_loss_tree
from mlinfra.monitoring.references import (
    CategoricalReference,
    Column,
    Reference,
    matrix_of,
    of_columns,
    reference_of,
    reference_of_wire,
)
from mlinfra.monitoring.row_counter import RowCounter
from mlinfra.monitoring.stretches import Stretches
from mlinfra.monitoring.value_tally import ValueScale, tally_values
from mlinfra.resources.monitoring import HIGHER_IS_BETTER, LOWER_IS_BETTER, DriftMethod

SCHEMA_VERSION = 1
PROFILE_FILE = "reference_profile.json"
"""In the model's folder, beside its ONNX file."""
PREDICTION, LABEL = "(prediction)", "(label)"
"""Names of what is answered and of what was right, which no feature has."""
MAX_BYTES = 64 * 1024 * 1024


class ProfileError(InvalidInputError):
    """A reference profile that cannot be read, or does not belong to what it is used for."""

    reason: ClassVar[str] = "InvalidProfile"


@dataclass(frozen=True)
class ReferenceProfile:
    """What a model learnt from, and how good it was.

    Attributes:
        model_name: registered model that it was trained for; empty where nobody knows.
        classes: value of each class; none where the model predicts a value.
        features: of the training rows; a windowed sample counts by its newest row.
        blocks: the same as consecutive stretches, counts by feature, (blocks, cells).
        prediction: of what the model answered to held-out rows: its most probable class, or its value.
        label: of what was right there.
        performance: measures on the held-out rows, by name without ``test_``.
        baseline: those of an answer without learning, on the same rows.
        calibration: of a classifier's probabilities.
        loss_tree: of a regressor's errors.
        scale: of a regressor's label.
        periods: first and last date of each part of the rows, as training tells them.
    """

    model_name: str
    classes: tuple[Any, ...]
    features: tuple[Reference, ...]
    blocks: Mapping[str, NDArray[np.int64]]
    prediction: Reference
    label: Reference
    performance: Mapping[str, float]
    calibration: Calibration | None = None
    loss_tree: LossTree | None = None
    scale: ValueScale | None = None
    periods: Mapping[str, str] = field(default_factory=dict)
    baseline: Mapping[str, float] = field(default_factory=dict)

    @property
    def expected(self) -> dict[str, float]:
        """What its answers shall reach: what they did on the held-out rows, or the baseline where better.

        A model that took Production for want of a better one would else be content with being poor.
        """
        expected = dict(self.performance)
        for name in HIGHER_IS_BETTER & self.baseline.keys() & expected.keys():
            expected[name] = max(expected[name], self.baseline[name])
        for name in LOWER_IS_BETTER & self.baseline.keys() & expected.keys():
            expected[name] = min(expected[name], self.baseline[name])
        return expected

    @cached_property
    def id(self) -> str:
        """SHA-256 of its JSON: counts beside another profile never mix with these."""
        return hashlib.sha256(self.to_json()).hexdigest()

    @cached_property
    def _usual(self) -> dict[tuple[str, int, DriftMethod], UsualScores]:
        return {}

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Name of each feature, in the model's order."""
        return tuple(each.name for each in self.features)

    def usual(self, name: str, rows: int, method: DriftMethod) -> UsualScores:
        """What windows of about so many rows score where a feature did not drift; remembered."""
        # Windows of nearly the same size share an answer: three sizes in each doubling.
        size = round(2 ** (round(3 * np.log2(max(rows, 1))) / 3))
        key = (name, size, method)
        if key not in self._usual:
            # In one order, so that the model's order of features changes no rounding.
            ordered = sorted(self.features, key=lambda each: each.name)
            found = usual_scores(ordered, [self.blocks[each.name] for each in ordered], size, method)
            for each, usual in zip(ordered, found, strict=True):
                self._usual[each.name, size, method] = usual
        return self._usual[key]

    @cached_property
    def layout(self) -> CellLayout:
        """Where the cells of each feature are in counts beside this profile."""
        return cell_layout(self.feature_names, tuple(each.cells for each in self.features))

    @cached_property
    def _row_counter(self) -> RowCounter | None:
        numbers = all(each.bounds is not None for each in self.features)
        return RowCounter(self.features) if numbers and self.features else None

    def nothing(self) -> Counts:
        """Counts of no rows."""
        return Counts(
            rows=0,
            layout=self.layout,
            cells=np.zeros(sum(self.layout.sizes), np.int64),
            prediction=np.zeros(self.prediction.cells, np.int64),
            label=np.zeros(self.label.cells, np.int64),
        )

    def count(self, columns: Mapping[str, Column], outputs: NDArray[np.floating[Any]]) -> Counts:
        """Count rows that a model answered.

        Args:
            columns: at least the features, by name, (rows,) each; NaN is no value.
            outputs: what was answered, finite, (rows, outputs).

        Raises:
            ProfileError: a feature or an output is missing.
        """
        self._check_outputs(outputs)
        cells = self.count_features(columns).cells[np.newaxis]
        whole, leaves = Stretches.whole(len(outputs)), None
        if self.loss_tree is not None:
            matrix = matrix_of(self.feature_names, columns)
            leaves = self.loss_tree.tallies(matrix, outputs[:, 0], whole)
        return self._counted(cells, leaves, outputs, whole)[0]

    def count_features(self, columns: Mapping[str, Column]) -> Counts:
        """As `count`, of rows whose answers are not known.

        Raises:
            ProfileError: a feature is missing.
        """
        missing = [name for name in self.feature_names if name not in columns]
        if missing:
            raise ProfileError(
                f"the rows lack the features {', '.join(missing[:5])} of the reference profile"
            )
        if not self.features:
            return self.nothing()
        rows = len(columns[self.features[0].name])
        counted = of_columns(lambda each: each.count(columns[each.name]), self.features, rows)
        return replace(self.nothing(), rows=rows, cells=np.concatenate(counted))

    def count_matrix(self, features: NDArray[Any], outputs: NDArray[np.floating[Any]]) -> Counts:
        """As `count`, for features in the model's order, (rows, features)."""
        return self.count_stretches(features, outputs, [len(outputs)])[0]

    def count_stretches(
        self,
        features: NDArray[Any],
        outputs: NDArray[np.floating[Any]],
        sizes: Sequence[int],
        known: NDArray[np.bool_] | None = None,
    ) -> list[Counts]:
        """As `count_matrix`, of each part of the rows; it takes hardly longer than for all together.

        Args:
            features: in the model's order, NaN is no value, (rows, features).
            outputs: what was answered, finite, (rows, outputs).
            sizes: rows of each part, one after another, that add up to all.
            known: of which rows the features are known, (rows,); of the others the answers alone count.

        Raises:
            ProfileError: the rows are not of this model.
        """
        self._check_outputs(outputs)
        if features.shape != (len(outputs), len(self.features)):
            raise ProfileError(
                f"the features of {len(outputs)} answers have the shape {features.shape}, and the reference "
                f"profile knows {len(self.features)} of them"
            )
        stretches = asked = Stretches.of_sizes(sizes)
        answered = outputs
        if known is not None and not known.all():
            asked = Stretches.of_sizes(np.bincount(stretches.part[known], minlength=len(sizes)).tolist())
            features, answered = features[known], outputs[known]
        leaves = self.loss_tree.tallies(features, answered[:, 0], asked) if self.loss_tree else None
        return self._counted(self._cells(features, asked), leaves, outputs, stretches)

    def _cells(self, features: NDArray[Any], stretches: Stretches) -> NDArray[np.int64]:
        """Rows by cell of all features, of each part, (parts, cells)."""
        if self._row_counter is not None:
            return self._row_counter.count(features, stretches)
        columns = zip(self.features, features.T, strict=True)
        counted = [stretches.counted(each.places(column), each.cells) for each, column in columns]
        return np.concatenate(counted or [np.zeros((stretches.number, 0), np.int64)], axis=1)

    def _counted(
        self,
        cells: NDArray[np.int64],
        leaves: NDArray[np.int64] | None,
        outputs: NDArray[np.floating[Any]],
        stretches: Stretches,
    ) -> list[Counts]:
        """Counts of each part, of which those by feature, (parts, cells), and by leaf of the `LossTree`,
        (parts, leaves), are known.
        """
        prediction = stretches.counted(self.prediction.places(self._answers(outputs)), self.prediction.cells)
        expected: Sequence[ClassTally | None] = [None] * stretches.number
        if self.calibration is not None and len(outputs):
            expected = self.calibration.tallies(outputs, stretches)
        return [
            Counts(
                rows=rows,
                layout=self.layout,
                cells=cells[part],
                prediction=prediction[part],
                label=np.zeros(self.label.cells, np.int64),
                expected=expected[part],
                leaves=leaves[part] if leaves is not None else None,
            )
            for part, rows in enumerate(stretches.sizes)
        ]

    def count_labels(self, outputs: NDArray[np.floating[Any]], label: Sequence[Any]) -> Counts:
        """Count labels of rows that were counted before.

        Args:
            outputs: what was answered to them, finite, (rows, outputs).
            label: class or value of each, (rows,); none of `classes` is an error.

        Raises:
            ProfileError: a label is no class, or no number.
        """
        if not len(outputs):
            return self.nothing()
        if self.classes:
            index = _class_index(label, self.classes)
            edges = self.calibration.edges if self.calibration is not None else np.zeros((0, 0))
            measured: Any = tally_labels(outputs, index, edges)
            counted = self.label.count(index)
        else:
            values = np.asarray(label, dtype=np.float64)
            if self.scale is None or not np.isfinite(values).all():
                raise ProfileError("the label of a model that predicts a value is a finite number")
            measured = tally_values(outputs[:, 0], values, self.scale)
            counted = self.label.count(values)
        return replace(self.nothing(), label=counted, labelled=len(outputs), measured=measured)

    def _answers(self, outputs: NDArray[np.floating[Any]]) -> NDArray[Any]:
        return outputs.argmax(axis=1) if self.classes else outputs[:, 0]

    def _check_outputs(self, outputs: NDArray[Any]) -> None:
        wanted = len(self.classes) or 1
        if outputs.ndim != 2 or outputs.shape[1] != wanted:
            raise ProfileError(
                f"answers have the shape {outputs.shape}, and the reference profile knows (rows, {wanted})"
            )

    def to_json(self) -> bytes:
        """The content of its file."""
        wire: dict[str, Any] = {
            "schemaVersion": SCHEMA_VERSION,
            "modelName": self.model_name,
            "classes": list(self.classes),
            "features": [each.to_wire() for each in self.features],
            "blocks": {name: counts.tolist() for name, counts in self.blocks.items()},
            "prediction": self.prediction.to_wire(),
            "label": self.label.to_wire(),
            "performance": dict(self.performance),
            "periods": dict(self.periods),
            "baseline": dict(self.baseline),
        }
        for name, part in (
            ("calibration", self.calibration),
            ("lossTree", self.loss_tree),
            ("scale", self.scale),
        ):
            if part is not None:
                wire[name] = part.to_wire()
        return json.dumps(wire, separators=(",", ":"), sort_keys=True, allow_nan=False).encode()

    @classmethod
    def of_json(cls, content: bytes) -> "ReferenceProfile":
        """What `to_json` gave.

        Raises:
            ProfileError: it is damaged, or of another schema version.
        """
        if len(content) > MAX_BYTES:
            raise ProfileError(f"the reference profile has {len(content)} bytes, more than {MAX_BYTES}")
        try:
            wire = json.loads(content)
            version = wire["schemaVersion"]
        except (ValueError, KeyError, TypeError) as error:
            raise ProfileError(f"the reference profile is damaged: {error}") from error
        if version != SCHEMA_VERSION:
            raise ProfileError(
                f"the reference profile has the schema version {version!r}, and {SCHEMA_VERSION} is read: "
                "train the model again with this version of mlinfra, or serve it with the one that trained it"
            )
        try:
            return cls._of_wire(wire)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ProfileError(
                f"the reference profile is damaged: {type(error).__name__}: {error}"
            ) from error

    @classmethod
    def _of_wire(cls, wire: Mapping[str, Any]) -> "ReferenceProfile":
        features = tuple(reference_of_wire(each) for each in wire["features"])
        blocks = {name: np.asarray(counts, dtype=np.int64) for name, counts in wire["blocks"].items()}
        for each in features:
            if blocks[each.name].ndim != 2 or blocks[each.name].shape[1] != each.cells:
                raise ValueError(f"the blocks of {each.name} do not fit its cells")
            if not np.array_equal(blocks[each.name].sum(axis=1), blocks[features[0].name].sum(axis=1)):
                raise ValueError(f"the blocks of {each.name} are not of the same rows as those of others")
        return cls(
            model_name=str(wire["modelName"]),
            classes=tuple(wire["classes"]),
            features=features,
            blocks=blocks,
            prediction=reference_of_wire(wire["prediction"]),
            label=reference_of_wire(wire["label"]),
            performance={str(name): float(value) for name, value in wire["performance"].items()},
            calibration=Calibration.of_wire(wire["calibration"]) if "calibration" in wire else None,
            loss_tree=LossTree.of_wire(wire["lossTree"]) if "lossTree" in wire else None,
            scale=ValueScale.of_wire(wire["scale"]) if "scale" in wire else None,
            periods=dict(wire["periods"]),
            baseline={str(name): float(value) for name, value in wire.get("baseline", {}).items()},
        )


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Rows that a model did not learn from, and what it answered.

    Attributes:
        columns: the features, by name, (rows,) each.
        outputs: what was answered: probabilities or values, finite, (rows, outputs).
        label: index of the right class, or the right value, (rows,).
    """

    columns: Mapping[str, Column]
    outputs: NDArray[np.floating[Any]]
    label: NDArray[Any]


def build_profile(
    training: Mapping[str, Column],
    held_out: HeldOut,
    *,
    classes: Sequence[Any] = (),
    performance: Mapping[str, float] | None = None,
    model_name: str = "",
    periods: Mapping[str, str] | None = None,
    baseline: Mapping[str, float] | None = None,
) -> ReferenceProfile:
    """Make the profile of a model.

    Args:
        training: the features of the rows that it learnt from, by name, in order of time, (rows,) each.
        held_out: rows that it did not learn from.
        classes: value of each class; none where it predicts a value.
        performance: measures on the held-out rows, by name.
        model_name: registered model that it was trained for.
        periods: first and last date of each part of the rows.
        baseline: measures of an answer without learning on the held-out rows, by name.
    """
    rows = len(next(iter(training.values()), ()))
    starts = block_starts(rows)

    def learnt(name: str) -> tuple[Reference, NDArray[np.int64]]:
        reference, values = reference_of(name, training[name]), training[name]
        return reference, np.stack([reference.count(values[low:high]) for low, high in pairwise(starts)])

    columns = of_columns(learnt, list(training), rows)
    features = tuple(reference for reference, _ in columns)
    answers = held_out.outputs.argmax(axis=1) if classes else held_out.outputs[:, 0]
    prediction = _outcome(PREDICTION, answers, classes)
    calibration = fit_calibration(held_out.outputs, held_out.label) if classes else None
    scale = loss_tree = None
    if not classes:
        right = held_out.label.astype(np.float64)
        scale = ValueScale.of(right)
        asked = matrix_of(list(training), held_out.columns)
        loss_tree = fit_loss_tree(asked, answers, answers.astype(np.float64) - right)
    return ReferenceProfile(
        model_name=model_name,
        classes=tuple(classes),
        features=features,
        blocks={reference.name: blocks for reference, blocks in columns},
        prediction=prediction,
        label=_outcome(LABEL, held_out.label, classes),
        performance=dict(performance or {}),
        calibration=calibration,
        loss_tree=loss_tree,
        scale=scale,
        periods=dict(periods or {}),
        baseline=dict(baseline or {}),
    )


def _outcome(name: str, values: NDArray[Any], classes: Sequence[Any]) -> Reference:
    """The reference of answers or labels: of classes each has a cell, by its index."""
    if not classes:
        return reference_of(name, values.astype(np.float64))
    empty = CategoricalReference(name, tuple(range(len(classes))), np.zeros(len(classes) + 2, np.int64))
    return CategoricalReference(name, empty.categories, empty.count(values))


def _class_index(label: Sequence[Any], classes: tuple[Any, ...]) -> NDArray[np.int64]:
    index = {value: place for place, value in enumerate(classes)}
    try:
        return np.array([index[each.item() if hasattr(each, "item") else each] for each in label], np.int64)
    except (KeyError, TypeError) as error:
        raise ProfileError(f"label {error} is none of the classes {list(classes)!r:.200}") from error
