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
import numpy as np
import pandas as pd

CHUNK = {"binary": 5000, "multiclass": 6000, "value": 6000}
BINARY_METRICS = ["roc_auc", "f1", "precision", "recall", "accuracy"]
MULTICLASS_METRICS = ["roc_auc", "f1", "accuracy"]
VALUE_METRICS = ["mae", "rmse"]
CARDS = ["highstreet_card", "prepaid_card", "upmarket_card"]
VALUE_FEATURES = [
    "car_age",
    "km_driven",
    "price_new",
    "accident_count",
    "door_count",
    "fuel",
    "transmission",
    "y_pred",
]
VALUE_BINS = 10
SHOWN_CHUNKS = 3
REFERENCE_ROWS = 6000


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
    common = {
        "y_pred_proba": "y_pred_proba",
        "y_pred": "y_pred",
        "y_true": "repaid",
        "problem_type": "classification_binary",
        "metrics": BINARY_METRICS,
        "chunk_size": CHUNK["binary"],
    }
    result, seconds = estimate(nml.CBPE(**common), reference, analysis)
    analysis = analysis.merge(target, on="id")
    calculator = nml.PerformanceCalculator(**common).fit(reference)
    for frame in (reference, analysis):
        frame["percent"] = (frame["y_pred_proba"] * 100).round()
    chunks = split(analysis, CHUNK["binary"])
    return {
        "reference": counted(reference, ["percent", "y_pred", "repaid"]),
        "chunks": [counted(chunk, ["percent", "y_pred"]) for chunk in chunks],
        "answers": answers(result, calculator.calculate(analysis), BINARY_METRICS),
        "seconds": seconds,
    }


def multiclass() -> dict[str, Any]:
    reference, analysis, target = nml.load_synthetic_multiclass_classification_dataset()
    probabilities = {card: f"y_pred_proba_{card}" for card in CARDS}
    common = {
        "y_pred_proba": probabilities,
        "y_pred": "y_pred",
        "y_true": "y_true",
        "problem_type": "classification_multiclass",
        "metrics": MULTICLASS_METRICS,
        "chunk_size": CHUNK["multiclass"],
    }
    result, seconds = estimate(nml.CBPE(**common), reference, analysis)
    analysis = analysis.merge(target, on="id")
    calculator = nml.PerformanceCalculator(**common).fit(reference)
    columns = [*CARDS, "predicted"]
    for frame in (reference, analysis):
        for card in CARDS:
            frame[card] = (frame[probabilities[card]] * 100).round()
        frame["predicted"] = frame["y_pred"].map(CARDS.index)
        frame["label"] = frame["y_true"].map(CARDS.index)
    chunks = split(analysis, CHUNK["multiclass"])
    told = answers(result, calculator.calculate(analysis), MULTICLASS_METRICS)
    shown = np.linspace(0, len(chunks) - 1, SHOWN_CHUNKS).astype(int)
    return {
        "reference": counted(reference, [*columns, "label"]),
        "chunks": [counted(chunks[each], columns) for each in shown],
        "answers": [told[each] for each in shown],
        "seconds": seconds,
    }


def value() -> dict[str, Any]:
    reference, analysis, target = nml.load_synthetic_car_price_dataset()
    result, seconds = estimate(
        nml.DLE(
            feature_column_names=VALUE_FEATURES[:-1],
            y_pred="y_pred",
            y_true="y_true",
            metrics=VALUE_METRICS,
            chunk_size=CHUNK["value"],
        ),
        reference,
        analysis,
    )
    analysis = analysis.merge(target, on="id")
    calculator = nml.PerformanceCalculator(
        y_pred="y_pred",
        y_true="y_true",
        problem_type="regression",
        metrics=VALUE_METRICS,
        chunk_size=CHUNK["value"],
    ).fit(reference)
    told = answers(result, calculator.calculate(analysis), VALUE_METRICS)
    sizes, codes = {}, {"reference": pd.DataFrame(), "analysis": pd.DataFrame()}
    for name in VALUE_FEATURES:
        column = reference[name]
        if column.nunique() <= VALUE_BINS or not pd.api.types.is_numeric_dtype(column):
            known = sorted(column.unique())
            edges = None
            sizes[name] = len(known) + 1
        else:
            edges = np.unique(np.quantile(column, np.linspace(0, 1, VALUE_BINS + 1)[1:-1]))
            sizes[name] = len(edges) + 1
        for part, frame in (("reference", reference), ("analysis", analysis)):
            values = frame[name]
            codes[part][name] = (
                values.map({each: place for place, each in enumerate(known)}).fillna(len(known)).astype(int)
                if edges is None
                else np.searchsorted(edges, values, side="right")
            )
    kept = np.linspace(0, len(reference) - 1, REFERENCE_ROWS).astype(int)
    chunks = split(codes["analysis"], CHUNK["value"])
    error = (reference["y_pred"] - reference["y_true"]).iloc[kept]
    return {
        "sizes": sizes,
        "bins": {
            name: "".join(chr(ord("a") + int(each)) for each in codes["reference"][name].iloc[kept])
            for name in VALUE_FEATURES
        },
        "error": [round(float(each)) for each in error],
        "counts": [
            {name: np.bincount(chunk[name], minlength=sizes[name]).tolist() for name in VALUE_FEATURES}
            for chunk in chunks
        ],
        "answers": told,
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
