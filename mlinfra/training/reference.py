"""The reference profile of a trained model: what those who watch it compare its traffic with."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlinfra.monitoring.profile import HeldOut, ReferenceProfile, build_profile
from mlinfra.monitoring.references import columns_of
from mlinfra.training.evaluation import Evaluation
from mlinfra.training.samples import Indices, Samples


def reference_profile(
    samples: Samples,
    predictions: NDArray[np.float32],
    evaluation: Evaluation,
    *,
    model_name: str,
) -> ReferenceProfile:
    """Make the profile: features of the training part, answers and labels of the test part.

    A sample counts by its newest row, so that each row counts once however long the window is.

    Args:
        samples: the parts.
        predictions: what the served form answers to the test part, (samples, outputs).
        evaluation: the measures on the test part.
        model_name: registered model that it was trained for; empty where there is none.
    """
    rows, test = samples.rows, samples.test.last_rows
    return build_profile(
        _columns(samples, _by_time(samples, samples.train.last_rows)),
        HeldOut(columns=_columns(samples, test), outputs=predictions, label=rows.label[test]),
        classes=rows.classes,
        performance=evaluation.measures,
        baseline=evaluation.baselines["baseline"],
        model_name=model_name,
        periods=samples.periods(),
    )


def _by_time(samples: Samples, last_rows: Indices) -> Indices:
    ordered: Indices = last_rows[np.argsort(samples.rows.time[last_rows], kind="stable")]
    return ordered


def _columns(samples: Samples, last_rows: Indices) -> dict[str, NDArray[Any]]:
    return columns_of(samples.rows.feature_names, samples.rows.features[last_rows])
