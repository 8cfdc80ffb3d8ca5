"""NannyML's own estimates on the samples that it ships; runs in an environment of its own, without mlinfra.

Usage: python nannyml_estimates.py

The last line of output is JSON: for each sample the rows (probabilities in percent and how often they occur)
and what NannyML estimates and what came true in each chunk, with the seconds that it took.
"""

import json
import time
import warnings
from typing import Any

import nannyml as nml
import pandas as pd

CHUNK = {"binary": 5000, "multiclass": 2000, "value": 500}
STRIDE = {"binary": 1, "multiclass": 6, "value": 24}
"""One row in so many is taken, so that what is kept stays small."""
BINARY_METRICS = ["roc_auc", "f1", "precision", "recall", "accuracy"]
MULTICLASS_METRICS = ["roc_auc", "f1", "accuracy"]
VALUE_METRICS = ["mae", "rmse"]
CARDS = ["highstreet_card", "prepaid_card", "upmarket_card"]
VALUE_FEATURES = ["car_age", "km_driven", "price_new", "accident_count"]


def answers(
    estimated: Any, realised: Any, metrics: list[str], period: str = "analysis"
) -> list[dict[str, Any]]:
    """A mapping a chunk: by metric NannyML's estimate, its sampling error, and what came true."""
    ours, true = estimated.filter(period=period).to_df(), realised.filter(period=period).to_df()
    return [
        {
            metric: {
                "estimated": float(ours[(metric, "value")].iloc[chunk]),
                "error": float(ours[(metric, "sampling_error")].iloc[chunk]),
                "realised": float(true[(metric, "value")].iloc[chunk]),
            }
            for metric in metrics
        }
        for chunk in range(len(ours))
    ]


def estimate(estimator: Any, reference: pd.DataFrame, analysis: pd.DataFrame) -> tuple[Any, dict[str, float]]:
    started = time.perf_counter()
    estimator.fit(reference)
    fitted = time.perf_counter()
    result = estimator.estimate(analysis)
    return result, {"fit": fitted - started, "estimate": time.perf_counter() - fitted}


def counted(frame: pd.DataFrame, columns: list[str]) -> list[list[int]]:
    """Different rows of whole numbers, and how often each occurs at the end."""
    return [
        [int(value) for value in row]
        for row in frame[columns].value_counts().sort_index().reset_index().to_numpy()
    ]


def split(frame: pd.DataFrame, rows: int) -> list[pd.DataFrame]:
    return [frame.iloc[start : start + rows] for start in range(0, len(frame), rows)]


def binary() -> dict[str, Any]:
    reference, analysis, target = nml.load_synthetic_car_loan_dataset()
    analysis = analysis.merge(target, on="id")
    for frame in (reference, analysis):
        frame["percent"] = (frame["y_pred_proba"] * 100).round()
        # The sample's own answers were cut elsewhere; ours are the more probable class.
        frame["y_pred"] = (frame["percent"] > 50).astype(int)
    common = {
        "y_pred_proba": "y_pred_proba",
        "y_pred": "y_pred",
        "y_true": "repaid",
        "problem_type": "classification_binary",
        "metrics": BINARY_METRICS,
        "chunk_size": CHUNK["binary"],
    }
    result, seconds = estimate(nml.CBPE(**common), reference, analysis)
    calculator = nml.PerformanceCalculator(**common).fit(reference)
    return {
        "reference": counted(reference, ["percent", "repaid"]),
        "chunks": [counted(chunk, ["percent"]) for chunk in split(analysis, CHUNK["binary"])],
        "answers": answers(result, calculator.calculate(analysis), BINARY_METRICS),
        "seconds": seconds,
    }


def multiclass() -> dict[str, Any]:
    reference, analysis, target = nml.load_synthetic_multiclass_classification_dataset()
    analysis = analysis.merge(target, on="id")
    reference = reference.iloc[:: STRIDE["multiclass"]].copy()
    analysis = analysis.iloc[:: STRIDE["multiclass"]].copy()
    probabilities = {card: f"y_pred_proba_{card}" for card in CARDS}
    for frame in (reference, analysis):
        for card in CARDS:
            frame[card] = (frame[probabilities[card]] * 100).round()
        frame["y_pred"] = [CARDS[each] for each in frame[CARDS].to_numpy().argmax(axis=1)]
        frame["label"] = frame["y_true"].map(CARDS.index)
    common = {
        "y_pred_proba": probabilities,
        "y_pred": "y_pred",
        "y_true": "y_true",
        "problem_type": "classification_multiclass",
        "metrics": MULTICLASS_METRICS,
        "chunk_size": CHUNK["multiclass"],
    }
    result, seconds = estimate(nml.CBPE(**common), reference, analysis)
    calculator = nml.PerformanceCalculator(**common).fit(reference)
    return {
        "reference": counted(reference, [*CARDS, "label"]),
        "chunks": [counted(chunk, CARDS) for chunk in split(analysis, CHUNK["multiclass"])],
        "answers": answers(result, calculator.calculate(analysis), MULTICLASS_METRICS),
        "seconds": seconds,
    }


def value() -> dict[str, Any]:
    reference, analysis, target = nml.load_synthetic_car_price_dataset()
    analysis = analysis.merge(target, on="id")
    reference, analysis = reference.iloc[:: STRIDE["value"]], analysis.iloc[:: STRIDE["value"]]
    common = {"y_pred": "y_pred", "y_true": "y_true", "metrics": VALUE_METRICS, "chunk_size": CHUNK["value"]}
    estimator = nml.DLE(feature_column_names=VALUE_FEATURES, **common)
    result, seconds = estimate(estimator, reference, analysis)
    calculator = nml.PerformanceCalculator(problem_type="regression", **common).fit(reference)
    columns = [*VALUE_FEATURES, "y_pred", "y_true"]
    return {
        "columns": columns,
        "reference": reference[columns].to_numpy().round().astype(int).tolist(),
        "chunks": [
            chunk[columns].to_numpy().round().astype(int).tolist()
            for chunk in split(analysis, CHUNK["value"])
        ],
        "answers": answers(result, calculator.calculate(analysis), VALUE_METRICS),
        "seconds": seconds,
    }


def main() -> None:
    warnings.simplefilter("ignore")
    # NannyML 0.13.1 cannot handle the strings of pandas 3.
    pd.set_option("future.infer_string", False)
    print(
        json.dumps(
            {"nannyml": nml.__version__, "binary": binary(), "multiclass": multiclass(), "value": value()},
            separators=(",", ":"),
        )
    )


if __name__ == "__main__":
    main()
