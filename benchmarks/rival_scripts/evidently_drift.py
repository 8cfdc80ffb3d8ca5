"""Evidently's drift preset and its bare statistic, run in an environment of their own.

Usage: python evidently_drift.py FOLDER PRESET_ROUNDS BARE_ROUNDS

Compares FOLDER/current.parquet with FOLDER/reference.parquet by PSI; numbers are numeric columns, texts
categorical ones. Prints the seconds of each round and the score of each column as JSON. Reading the files and
making Evidently's data sets of them does not count.
"""

import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.legacy.calculations.stattests import psi_stat_test
from evidently.legacy.core import ColumnType
from evidently.presets import DataDriftPreset

THRESHOLD = 0.1


def main(folder: Path, preset_rounds: int, bare_rounds: int) -> None:
    reference = pd.read_parquet(folder / "reference.parquet")
    current = pd.read_parquet(folder / "current.parquet")
    numeric = [name for name in reference if reference[name].dtype.kind == "f"]
    definition = DataDefinition(
        numerical_columns=numeric,
        categorical_columns=[name for name in reference if name not in numeric],
    )
    data = [Dataset.from_pandas(frame, data_definition=definition) for frame in (current, reference)]
    kinds = {name: ColumnType.Numerical if name in numeric else ColumnType.Categorical for name in reference}

    def preset() -> Any:
        return Report([DataDriftPreset(method="psi")]).run(*data).dict()

    def bare() -> dict[str, float]:
        return {
            name: float(psi_stat_test.func(reference[name], current[name], kind, THRESHOLD)[0])
            for name, kind in kinds.items()
        }

    told = {"preset": seconds(preset, preset_rounds), "bare": seconds(bare, bare_rounds), "scores": bare()}
    print(json.dumps(told))


def seconds(call: Callable[[], object], rounds: int) -> list[float]:
    taken = []
    for _ in range(rounds):
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return taken


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
