"""``mlinfra predict``: many rows from a file or a feature group into a Parquet file."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import Result
from servers.model_server import learnt_metadata, linear_model
from typer.testing import CliRunner

from mlinfra.cli.main import app
from mlinfra.features import FeatureStore

ENTITIES = ("AAPL", "MSFT", "NEW")
START = datetime(2025, 12, 20, tzinfo=UTC)

Run = Callable[..., Result]


@pytest.fixture
def frame() -> pd.DataFrame:
    """Forty days of two entities, and two of a third, in order of time."""
    rows = [
        (entity, START + timedelta(days=day), day + 100.0 * place, day / 10)
        for day in range(40)
        for place, entity in enumerate(ENTITIES)
        if entity != "NEW" or day < 2
    ]
    return pd.DataFrame(rows, columns=["symbol", "event_timestamp", "open", "close"])


@pytest.fixture
def run(tmp_path: Path) -> Run:
    metadata = learnt_metadata(["open", "close"], window=3)
    model = linear_model(tmp_path / "adder.onnx", features=2, window=3, metadata=metadata)

    def invoke(*arguments: object, code: int = 0) -> Result:
        given = ["predict", str(model), "--to", str(tmp_path / "out.parquet"), *map(str, arguments)]
        result = CliRunner().invoke(app, given)
        assert result.exit_code == code, (result.output, result.exception)
        return result

    return invoke


def expected(frame: pd.DataFrame) -> pd.DataFrame:
    """The sum of each entity's last three rows, by entity and time."""
    indexed = frame.set_index("event_timestamp")
    sums = indexed.groupby("symbol")[["open", "close"]].rolling(3).sum().sum(axis=1, min_count=2).dropna()
    return sums.rename("prediction")


def check(path: Path, frame: pd.DataFrame) -> None:
    found = pd.read_parquet(path).set_index(["symbol", "event_timestamp"])["prediction"].sort_index()
    wanted = expected(frame).sort_index()
    assert len(found) == len(wanted) == 76
    np.testing.assert_allclose(found.to_numpy(), wanted.to_numpy(), rtol=1e-6)


@pytest.mark.parametrize("batch_rows", [1, 7, 8192])
def test_rows_of_a_parquet_file(run: Run, frame: pd.DataFrame, tmp_path: Path, batch_rows: int) -> None:
    frame.to_parquet(tmp_path / "rows.parquet")
    told = run(
        "--file", tmp_path / "rows.parquet", "--entity", "symbol", "--batch-rows", batch_rows, "-o", "json"
    )
    assert json.loads(told.stdout) == {
        "rows": 82,
        "predicted": 76,
        "without_window": 6,
        "model_version": "1",
        "file": str(tmp_path / "out.parquet"),
    }
    check(tmp_path / "out.parquet", frame)


def test_rows_of_a_csv_file(run: Run, frame: pd.DataFrame, tmp_path: Path) -> None:
    frame.to_csv(tmp_path / "rows.csv", index=False)
    assert "6 have fewer than the 3 rows" in run("--file", tmp_path / "rows.csv", "--entity", "symbol").stdout
    check(tmp_path / "out.parquet", frame)


@pytest.mark.parametrize("period", ["day", "month", "year"])
def test_rows_of_a_feature_group(run: Run, frame: pd.DataFrame, tmp_path: Path, period: str) -> None:
    store = FeatureStore(tmp_path / "store")
    shuffled = frame.sample(frac=1, random_state=7)
    for part in (shuffled[:30], shuffled[20:]):
        store.write_offline_features("prices", part, entity_column="symbol", partition_by=period)
    run("--group", "prices", "--store", store.root)
    check(tmp_path / "out.parquet", frame)


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda frame: frame.drop(columns="close"), "no column 'close'"),
        (lambda frame: frame.assign(close="x"), "feature 'close' holds"),
        (lambda frame: frame.assign(close=None), "'close' has no value in"),
        (lambda frame: frame.assign(close=np.inf), "is infinite or beyond"),
        (lambda frame: frame.iloc[::-1], "are not in order of time"),
        (lambda frame: frame.drop(columns="event_timestamp"), "no column tells it"),
    ],
)
def test_rows_that_cannot_be_predicted_leave_no_file(
    run: Run,
    frame: pd.DataFrame,
    tmp_path: Path,
    spoil: Callable[[pd.DataFrame], pd.DataFrame],
    problem: str,
) -> None:
    spoil(frame).to_parquet(tmp_path / "rows.parquet", index=False)
    assert problem in run("--file", tmp_path / "rows.parquet", "--entity", "symbol", code=2).stderr
    assert [path.name for path in tmp_path.glob("*out.parquet*")] == []


def test_a_model_of_one_row_takes_rows_in_any_order(tmp_path: Path, frame: pd.DataFrame) -> None:
    model = linear_model(
        tmp_path / "one.onnx", features=2, window=1, metadata=learnt_metadata(["open", "close"])
    )
    twice = pd.concat([frame.iloc[::-1], frame[:5]])
    twice.to_parquet(tmp_path / "rows.parquet", index=False)
    given = ["predict", str(model), "--to", str(tmp_path / "out.parquet")]
    told = CliRunner().invoke(app, [*given, "--file", str(tmp_path / "rows.parquet"), "--entity", "symbol"])
    assert told.exit_code == 0, told.output
    found = pd.read_parquet(tmp_path / "out.parquet")
    assert found["symbol"].tolist() == twice["symbol"].tolist()
    np.testing.assert_allclose(found["prediction"], twice[["open", "close"]].sum(axis=1), rtol=1e-6)


def damaged_within(frame: pd.DataFrame, path: Path) -> None:
    """A Parquet file whose values are overwritten; its ends are whole."""
    frame.to_parquet(path)
    content = path.read_bytes()
    path.write_bytes(content[:40] + b"\xff" * 400 + content[440:])


def column_twice(frame: pd.DataFrame, path: Path) -> None:
    frame.to_parquet(path)
    table = pq.read_table(path)
    pq.write_table(table.append_column("close", table.column("close")), path)


BAD_FILES: dict[str, tuple[str, Callable[[pd.DataFrame, Path], object], str]] = {
    "absent": ("rows.parquet", lambda frame, path: None, "cannot be read"),
    "folder": ("rows.parquet", lambda frame, path: path.mkdir(), "cannot be read"),
    "empty": ("rows.parquet", lambda frame, path: path.touch(), "cannot be read"),
    "no Parquet": ("rows.parquet", lambda frame, path: path.write_bytes(b"PAR1 nothing"), "cannot be read"),
    "damaged within": ("rows.parquet", damaged_within, "rows.parquet cannot be read"),
    "another name": ("rows.json", lambda frame, path: path.touch(), "neither .parquet nor .csv"),
    "no column": (
        "rows.parquet",
        lambda frame, path: frame.drop(columns="close").to_parquet(path),
        "has no column 'close'",
    ),
    "column twice": ("rows.parquet", column_twice, "column 'close' is there more than once"),
    "texts": (
        "rows.parquet",
        lambda frame, path: frame.assign(close="x").to_parquet(path),
        "feature 'close' holds large_string, not numbers",
    ),
    "no times": (
        "rows.parquet",
        lambda frame, path: frame.assign(event_timestamp="soon").to_parquet(path),
        "holds 'soon' in row 1, which is no time",
    ),
    "ragged": (
        "rows.csv",
        lambda frame, path: path.write_text("symbol,event_timestamp,open,close\na,2020-01-01,1\n"),
        "cannot be read: CSV parse error",
    ),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_file_that_cannot_be_used_is_told_in_a_line_and_what_was_there_stays(
    run: Run, frame: pd.DataFrame, tmp_path: Path, case: str
) -> None:
    name, write, message = BAD_FILES[case]
    write(frame, tmp_path / name)
    (tmp_path / "out.parquet").write_text("of before")
    told = run("--file", tmp_path / name, "--entity", "symbol", "--batch-rows", 8, code=2).stderr
    assert message in told
    assert len(told.splitlines()) == 1
    assert (tmp_path / "out.parquet").read_text() == "of before"
    assert not list(tmp_path.glob(".out.parquet*"))


@pytest.mark.parametrize("target", ["", "folder", "absent/out.parquet"])
def test_what_is_no_file_to_write_is_told(run: Run, frame: pd.DataFrame, tmp_path: Path, target: str) -> None:
    (tmp_path / "folder").mkdir()
    frame.to_parquet(tmp_path / "rows.parquet")
    to = str(tmp_path / target) if target else ""
    told = run("--file", tmp_path / "rows.parquet", "--entity", "symbol", "--to", to, code=1).stderr
    assert "cannot be written" in told
    assert len(told.splitlines()) == 1


def test_the_rows_themselves_are_not_written_over(run: Run, frame: pd.DataFrame, tmp_path: Path) -> None:
    rows = tmp_path / "rows.parquet"
    frame.to_parquet(rows)
    before = rows.read_bytes()
    run("--file", rows, "--entity", "symbol", "--to", tmp_path / "folder" / ".." / "rows.parquet", code=2)
    assert rows.read_bytes() == before


def test_days_and_times_as_texts_are_event_times(run: Run, frame: pd.DataFrame, tmp_path: Path) -> None:
    days = frame.assign(event_timestamp=frame["event_timestamp"].dt.date)
    texts = frame.assign(event_timestamp=frame["event_timestamp"].astype(str))
    for each in (days, texts):
        each.to_parquet(tmp_path / "rows.parquet")
        run("--file", tmp_path / "rows.parquet", "--entity", "symbol")
        check(tmp_path / "out.parquet", frame)


def test_missing_values_follow_the_policy(run: Run, frame: pd.DataFrame, tmp_path: Path) -> None:
    holes = frame.copy()
    holes.loc[[30, 41], "close"] = None
    holes.to_parquet(tmp_path / "rows.parquet")
    file = ("--file", tmp_path / "rows.parquet", "--entity", "symbol")
    run(*file, "--missing", "last")
    check(tmp_path / "out.parquet", holes.assign(close=holes.groupby("symbol")["close"].ffill()))
    run(*file, "--missing", "default", "--default", "close=5")
    check(tmp_path / "out.parquet", holes.fillna({"close": 5.0}))
    assert "--default is FEATURE=VALUE" in run(*file, "--default", "close", code=2).stderr
