"""Expectations and the command line on an S3 server."""

import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from mlinfra.cli.main import app
from mlinfra.features import ExpectationFailed, Expectations, FeatureMetadata, get_feature_store


def rows() -> pd.DataFrame:
    times = pd.date_range("2024-01-01", periods=3, tz="UTC")
    return pd.DataFrame({"event_timestamp": times, "symbol": "BTC", "rsi": [40.0, 130.0, 60.0]})


def test_rows_are_refused_or_set_aside(s3_uri: str) -> None:
    store = get_feature_store(s3_uri)
    store.register_feature(FeatureMetadata(name="rsi", expectations=Expectations(maximum=100)))
    with pytest.raises(ExpectationFailed, match=r"1 of 3 rows are above the maximum 100"):
        store.write_offline_features("prices", rows())
    assert store.list_feature_groups() == []
    written = store.write_offline_features(
        "prices", rows(), on_violation="quarantine", on_report=lambda report: None
    )
    assert written == 2
    assert store.read_quarantined_features("prices")["rsi"].tolist() == [130.0]
    assert store.check_features("prices").ok


def test_the_command_line_takes_a_uri(s3_uri: str, tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["features", *arguments, "--store", s3_uri])
        assert result.exit_code == 0, result.output
        return result.output

    path = tmp_path / "rows.parquet"
    rows().to_parquet(path)
    run("register", "--name", "rsi", "--max", "100", "--on-violation", "quarantine")
    assert "2 rows written, 1 quarantined" in run("write", "prices", str(path))
    assert [each["rsi"] for each in json.loads(run("read", "prices", "-o", "json"))] == [40.0, 60.0]
    assert "above the maximum 100" in run("read", "prices", "--quarantine")
    run("snapshot", "prices", "--name", "first")
    assert json.loads(run("snapshots", "-o", "json"))[0]["name"] == "first"
