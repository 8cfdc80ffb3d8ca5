"""``mlinfra features``: what it prints, what it writes, and how it refuses."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from click.testing import Result
from typer.testing import CliRunner

from mlinfra.cli.main import app
from mlinfra.features import Expectations, FeatureMetadata, FeatureStore

Run = Callable[..., Result]


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path / "store")


@pytest.fixture
def run(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("MLINFRA_FEATURE_STORE_URI", str(store.root))

    def invoke(*arguments: object, code: int = 0) -> Result:
        result = CliRunner().invoke(app, ["features", *map(str, arguments)])
        assert result.exit_code == code, (result.output, result.exception)
        return result

    return invoke


@pytest.fixture
def definitions(tmp_path: Path) -> Path:
    path = tmp_path / "features.yaml"
    path.write_text(
        """
        features:
          - name: macd
            version: "1.0"
            description: Moving average convergence divergence
            dependencies: [log_return]
          - name: log_return
            dependencies: [raw:close]
          - name: rsi
            feature_type: technical
            expectations: {minimum: 0, maximum: 100, on_violation: quarantine}
        """
    )
    return path


def rows(count: int = 3) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "event_timestamp": pd.date_range("2024-01-01", periods=count, freq="D", tz="UTC"),
            "symbol": ["BTC"] * count,
            "rsi": [40.0 + row for row in range(count)],
        }
    )


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    path = tmp_path / "rows.parquet"
    rows().to_parquet(path)
    return path


def one_line(result: Result) -> str:
    """What went to stderr, which is one line."""
    assert result.stderr.count("\n") == 1, result.stderr
    return result.stderr


def test_definitions_from_a_file_are_listed_and_shown(run: Run, definitions: Path) -> None:
    assert "macd@1.0, log_return@1.0, rsi@1.0" in run("register", definitions).output
    run("register", definitions)
    assert [line.split()[:2] for line in run("list").output.splitlines()] == [
        ["NAME", "VERSION"],
        ["log_return", "1.0"],
        ["macd", "1.0"],
        ["rsi", "1.0"],
    ]
    listed = json.loads(run("list", "--output", "json").output)
    assert listed[2]["expectations"] == {"minimum": 0, "maximum": 100, "on_violation": "quarantine"}
    shown = run("show", "log_return").output
    assert "used by        macd@1.0" in shown
    assert "dependencies   raw:close" in shown
    assert json.loads(run("show", "rsi", "-o", "json").output)["versions"] == ["1.0"]


def test_a_definition_from_options(run: Run, store: FeatureStore) -> None:
    run("register", "--name", "side", "--type", "order", "--depends-on", "raw:side", "--allowed", "buy")
    run(
        *("register", "--name", "side", "--version", "1.1", "--allowed", "buy", "--allowed", "1"),
        *("--max-null-share", "0.1", "--on-violation", "warn"),
    )
    assert store.get_feature("side", "1.0") == FeatureMetadata(
        name="side",
        feature_type="order",
        dependencies=("raw:side",),
        expectations=Expectations(allowed_values=("buy",)),
    )
    assert store.get_feature("side").expectations == Expectations(
        allowed_values=("buy", 1), max_null_share=0.1, on_violation="warn"
    )
    assert len(run("list").output.splitlines()) == 2
    assert len(run("list", "--all").output.splitlines()) == 3


def test_diff_lineage_and_delete(run: Run, definitions: Path) -> None:
    run("register", definitions)
    run("register", "--name", "log_return", "--version", "1.1", "--description", "new")
    difference = run("diff", "log_return", "1.0", "1.1").output
    assert "raw:close" in difference
    assert "new" in difference
    assert json.loads(run("diff", "rsi", "1.0", "1.0", "-o", "json").output) == []
    assert run("lineage", "macd").output.startswith("macd@1.0\n  computed from:\n    log_return@1.1")
    assert run("lineage", "macd", "-o", "dot").output.startswith("digraph lineage {")
    assert run("lineage", "macd", "-o", "mermaid").output.startswith("flowchart LR")
    assert json.loads(run("lineage", "macd", "-o", "json").output) == {
        "feature": "macd@1.0",
        "edges": [{"from": "log_return@1.1", "to": "macd@1.0"}],
    }
    refused = run("delete", "log_return", "1.1", code=2)
    assert "is used by macd@1.0" in one_line(refused)
    assert run("delete", "macd", "1.0").output == "deleted: macd@1.0\n"


def test_rows_from_a_file_are_written_read_and_saved(
    run: Run, store: FeatureStore, parquet: Path, tmp_path: Path
) -> None:
    assert run("write", "prices", parquet).output == (
        f"3 rows written: feature group prices of {store.root}\n"
    )
    assert run("groups").output.splitlines()[1].split() == [
        *("prices", "symbol", "event_timestamp", "year", "rsi")
    ]
    table = run("read", "prices", "--limit", "2").output
    assert "2 of 3 rows" in table
    assert "41.0" in table
    found = json.loads(run("read", "prices", "--start", "2024-01-02", "-o", "json").output)
    assert [each["rsi"] for each in found] == [41.0, 42.0]
    assert found[0]["event_timestamp"] == "2024-01-02T00:00:00.000000Z"
    for name in ("out.parquet", "out.csv"):
        saved = tmp_path / name
        assert run("read", "prices", "--column", "rsi", "-o", saved).output == f"3 rows written to {saved}\n"
        run("write", "again", saved)
    pd.testing.assert_frame_equal(store.read_offline_features("again"), rows())
    assert run("read", "prices", "--start", "2030-01-01").output == "no rows\n"


def test_a_csv_with_a_time_column_of_its_own_name(run: Run, store: FeatureStore, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    rows().rename(columns={"event_timestamp": "day"}).to_csv(path, index=False)
    run("write", "prices", path, "--timestamp", "day", "--entity", "symbol", "--partition-by", "month")
    assert store.get_feature_group("prices").partition_by == "month"
    pd.testing.assert_frame_equal(store.read_offline_features("prices"), rows())


def test_a_group_whose_times_have_no_zone_takes_files_too(
    run: Run, store: FeatureStore, tmp_path: Path
) -> None:
    plain = rows().assign(event_timestamp=lambda frame: frame["event_timestamp"].dt.tz_localize(None))
    store.write_offline_features("prices", plain)
    path = tmp_path / "rows.csv"
    rows(5).to_csv(path, index=False)
    run("write", "prices", path)
    assert len(store.read_offline_features("prices")) == 5


def test_how_times_were_read_is_told(run: Run, store: FeatureStore, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("timestamp,symbol,rsi\n1704067200,BTC,40.0\n1704153600,BTC,41.0\n")
    told = one_line(run("write", "prices", path))
    assert told == "Warning: column timestamp is read as seconds since 1970 in UTC\n"
    assert str(store.read_offline_features("prices")["timestamp"].iloc[1]) == "2024-01-02 00:00:00+00:00"


def test_quarantined_rows_are_counted_told_and_read(run: Run, definitions: Path, tmp_path: Path) -> None:
    run("register", definitions)
    path = tmp_path / "rows.parquet"
    rows().assign(rsi=[50.0, 130.0, 60.0]).to_parquet(path)
    written = run("write", "prices", path)
    assert "2 rows written, 1 quarantined" in written.stdout
    assert one_line(written).startswith("Warning: column 'rsi': 1 of 3 rows are above the maximum 100")
    assert "rsi is above the maximum 100" in run("read", "prices", "--quarantine").output
    report = json.loads(run("write", "prices", path, "-o", "json").output)
    assert (report["rows_written"], report["rows_quarantined"]) == (2, 1)
    refused = run("write", "prices", path, "--on-violation", "reject", code=2)
    assert "nothing was written: column 'rsi': 1 of 3 rows" in one_line(refused)


def test_check_ends_with_1_where_expectations_are_broken(run: Run, parquet: Path) -> None:
    run("write", "prices", parquet)
    assert "nothing, for no feature has expectations" in run("check", "prices").output
    run("register", "--name", "rsi", "--max", "100")
    assert run("check", "prices").output == "3 rows of prices, checked: rsi\n"
    run("register", "--name", "rsi", "--version", "2.0", "--max", "41")
    table = run("check", "prices", code=1).output
    assert "rsi@2.0  above the maximum 41.0  1     42.0 (symbol BTC" in table
    report = json.loads(run("check", "prices", "-o", "json", code=1).output)
    assert (report["ok"], report["violations"][0]["rows"]) == (False, 1)


def test_materialize_all_and_the_rest(run: Run, store: FeatureStore, parquet: Path) -> None:
    run("write", "prices", parquet)
    assert (
        run("materialize", "prices", "--end", "2024-01-02").output == "1 entities of prices stored online\n"
    )
    assert store.read_online_features("BTC", feature_group="prices").values.tolist() == [[41.0]]
    assert run("materialize", "prices", "--incremental").output == "1 entities of prices stored online\n"
    assert store.read_online_features("BTC", feature_group="prices").values.tolist() == [[42.0]]
    assert "leave out --start" in run("materialize", "prices", "--incremental", "--force", code=2).stderr


def test_a_snapshot_is_made_listed_and_read(run: Run, parquet: Path) -> None:
    run("write", "prices", parquet)
    assert run("snapshot", "prices", "--name", "first", "--end", "2024-01-02").output.startswith(
        "first: 2 rows of prices (ID snapshot-"
    )
    assert json.loads(run("snapshots", "-o", "json").output)[0]["name"] == "first"
    assert "prices (2 rows)" in run("snapshots").output
    assert "40.0" in run("read", "--snapshot", "first").output
    assert "no snapshot" in one_line(run("read", "--snapshot", "second", code=2))


def test_small_files_are_merged_and_then_deleted(run: Run, store: FeatureStore, parquet: Path) -> None:
    for _ in range(3):
        run("write", "prices", parquet)
    assert run("compact", "prices").output.startswith("prices: 3 files in 1 folders became 1;")
    assert json.loads(run("compact", "prices", "-o", "json").output)["partitions"] == 0
    assert json.loads(run("drop", "prices", "--before", "1990-01-01", "-o", "json").output)["files"] == 0
    assert "1 files with" in run("drop", "prices", "--before", "2100-01-01", "--dry-run").output
    dry = run("vacuum", "prices", "--older-than-hours", "0", "--dry-run").output
    assert dry.startswith("prices: 3 files, ")
    assert "would be deleted" in dry
    assert (
        len(json.loads(run("vacuum", "prices", "--older-than-hours", "0", "-o", "json").output)["files"]) == 3
    )
    assert len(list(store.root.rglob("offline/prices/*/*.parquet"))) == 1
    assert len(store.read_offline_features("prices")) == 3


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("list", "no features are registered in"),
        ("groups", "there are no feature groups in"),
        ("snapshots", "there are no snapshots in"),
    ],
)
def test_an_empty_store_is_named(run: Run, store: FeatureStore, command: str, message: str) -> None:
    assert run(command).output == f"{message} {store.root}\n"
    assert run(command, "-o", "json").output == "[]\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("show", "rsi"), "feature 'rsi' is not registered"),
        (("read", "prices"), "no feature group 'prices'"),
        (("check", "prices"), "no feature group 'prices'"),
        (("materialize", "prices"), "no feature group 'prices'"),
        (("snapshot", "prices"), "no feature group 'prices'"),
        (("write", "prices", "absent.parquet"), "absent.parquet cannot be read: No such file"),
        (("write", "prices", "rows.xlsx"), "rows.xlsx"),
        (("register", "absent.yaml"), "absent.yaml cannot be read: No such file"),
        (("register", "--name", "a/b"), "options: name: string should match pattern"),
        (("register", "--name", "x", "--depends-on", "y"), "depends on 'y', which is not registered"),
        (("register", "--name", "x", "--min", "2", "--max", "1"), "the minimum 2.0 is above the maximum 1.0"),
        (("register", "--name", "x", "--on-violation", "warn"), "give at least one of minimum"),
        (("register", "--name", "x", "--min", "0", "--on-violation", "drop"), "'reject', 'quarantine' or"),
        (("list", "--store", "nothing://x"), "feature store nothing://x"),
    ],
)
def test_bad_input_is_one_line_and_ends_with_2(run: Run, arguments: tuple[str, ...], message: str) -> None:
    code = 1 if "nothing://x" in arguments else 2
    assert message in one_line(run(*arguments, code=code))


@pytest.mark.parametrize(
    "arguments",
    [
        ("register",),
        ("register", "file.yaml", "--name", "x"),
        ("read",),
        ("read", "prices", "-o", "file.xlsx"),
        ("list", "-o", "yaml"),
        ("write", "prices"),
        ("write", "prices", "x.csv", "--on-violation", "drop"),
    ],
)
def test_wrong_usage_ends_with_2(run: Run, arguments: tuple[str, ...]) -> None:
    assert "Usage: " in run(*arguments, code=2).stderr


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"\0" * 100, b"no parquet at all"])
def test_a_damaged_parquet_file_is_named(run: Run, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "damaged.parquet"
    path.write_bytes(content)
    assert str(path) in one_line(run("write", "prices", path, code=2))


def test_a_damaged_store_is_told_by_its_file(run: Run, store: FeatureStore, parquet: Path) -> None:
    run("write", "prices", parquet)
    stored = next(store.root.rglob("offline/**/*.parquet"))
    stored.write_bytes(stored.read_bytes()[:-10])
    assert stored.name in one_line(run("read", "prices", code=2))
    run("register", "--name", "rsi")
    store.write_offline_features("whole", rows())
    run("snapshot", "whole", "--name", "first")
    next(store.root.rglob("snapshots/**/snapshot-*.json")).write_text("{}")
    assert "is not the manifest of a snapshot" in one_line(run("snapshots", code=2))
    (store.root / "metadata/features/rsi/1.0.json").write_text("{")
    assert "rsi/1.0.json is not a feature definition" in one_line(run("list", code=2))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no definitions"),
        ("just text", "holds no definitions"),
        ("features: []", "holds no definitions"),
        ("a: [", "is neither JSON nor YAML: while parsing"),
        (
            "- {name: x, version: 1.0}",
            'definition 1 (x): version: 1.0 is a number; write it in quotes, as "1.0"',
        ),
        ("- {name: x, colour: red}", "definition 1 (x): there is no field colour"),
        ("[{name: ok}, {version: '1'}]", "definition 2 (without a name): name is missing"),
        ("{name: x, expectations: {max_null_share: 2}}", "expectations.max_null_share: input should be less"),
    ],
)
def test_a_wrong_definition_file_is_told(run: Run, tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "features.yaml"
    path.write_text(content)
    told = one_line(run("register", path, code=2))
    assert message in told
    assert str(path) in told


def test_a_file_of_the_store_itself_can_be_registered_elsewhere(
    run: Run, store: FeatureStore, definitions: Path, tmp_path: Path
) -> None:
    run("register", definitions)
    other = FeatureStore(tmp_path / "other")
    run("register", store.root / "metadata/features/rsi/1.0.json", "--store", other.root)
    assert other.list_features() == [store.get_feature("rsi")]
