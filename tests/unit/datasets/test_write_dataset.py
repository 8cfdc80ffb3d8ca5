"""Example data into a feature store, from Python and from the command line."""

from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from mlinfra.cli.datasets import app
from mlinfra.datasets import sp500_daily, write_dataset
from mlinfra.datasets.catalog import UnknownDataset
from mlinfra.features import FeatureStore


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path)


def test_the_store_holds_rows_and_definitions(store: FeatureStore) -> None:
    written = write_dataset(store, "sp500")
    assert (written.feature_group, written.rows, written.changed) == ("sp500_daily", 4966, True)
    pd.testing.assert_frame_equal(store.read_offline_features("sp500_daily"), sp500_daily())
    group = store.get_feature_group("sp500_daily")
    assert (group.entity_column, group.time_column) == ("symbol", "event_timestamp")
    assert {each.name for each in store.list_features()} == set(group.features)


def test_a_second_write_leaves_the_files_alone(store: FeatureStore) -> None:
    write_dataset(store, "sp500")
    before = sorted(store.root.rglob("*"))
    assert write_dataset(store, "sp500").changed is False
    assert sorted(store.root.rglob("*")) == before


def test_both_data_sets_share_their_definitions(store: FeatureStore) -> None:
    write_dataset(store, "sp500")
    write_dataset(store, "nasdaq")
    assert store.list_feature_groups() == ["nasdaq_daily", "sp500_daily"]


def test_an_unknown_name_is_answered_with_those_there_are(store: FeatureStore) -> None:
    with pytest.raises(UnknownDataset, match="no example data 'dax'; there are: nasdaq, sp500"):
        write_dataset(store, "dax")
    assert list(store.root.iterdir()) == []


def test_the_command_says_what_it_wrote_and_where(tmp_path: Path) -> None:
    arguments = ["write", "sp500", "--store", f"file://{tmp_path}"]
    first = CliRunner().invoke(app, arguments)
    assert first.exit_code == 0, first.output
    assert "4966 rows, 1999-03-31 to 2018-12-21, written to feature group sp500_daily" in first.output
    assert "already in feature group sp500_daily" in CliRunner().invoke(app, arguments).output


def test_the_command_fails_with_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["write", "dax", "--store", str(tmp_path)])
    assert result.exit_code == 2
    assert result.stderr == "Error: no example data 'dax'; there are: nasdaq, sp500\n"


def test_the_list_names_every_data_set() -> None:
    listed = CliRunner().invoke(app, ["list"]).output
    assert "sp500" in listed
    assert "nasdaq" in listed
