"""Expectations on write and on what is stored: rejected, set aside, or told."""

import json
import warnings
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlinfra.features import (
    CheckReport,
    ExpectationFailed,
    Expectations,
    ExpectationWarning,
    FeatureConflict,
    FeatureMetadata,
    FeatureStore,
    InvalidFeatures,
    UnknownFeature,
    UnknownFeatureGroup,
    WriteReport,
)
from mlinfra.features.expectations import Policy


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path)


def expect(store: FeatureStore, name: str, version: str = "1.0", **rules: object) -> None:
    expectations = Expectations.model_validate(rules) if rules else None
    store.register_feature(FeatureMetadata(name=name, version=version, expectations=expectations))


def frame(rsi: list[float | None], side: list[str | None] | None = None) -> pd.DataFrame:
    rows = len(rsi)
    return pd.DataFrame(
        {
            "timestamp": pd.date_range("2024-01-01", periods=rows, freq="h"),
            "symbol": [f"S{row}" for row in range(rows)],
            "rsi": pd.array(rsi, dtype="float64"),
            "side": side or ["buy"] * rows,
        }
    )


def write(store: FeatureStore, rows: pd.DataFrame, policy: Policy | None = None) -> WriteReport:
    reports: list[WriteReport] = []
    written = store.write_offline_features(
        "g", rows, entity_column="symbol", on_violation=policy, on_report=reports.append
    )
    assert [report.rows_written for report in reports] == [written]
    return reports[0]


def test_rejected_rows_are_named_and_nothing_is_written(store: FeatureStore) -> None:
    expect(store, "rsi", minimum=0, maximum=100)
    with pytest.raises(ExpectationFailed) as caught:
        store.write_offline_features("g", frame([50, 130, 120]), entity_column="symbol")
    assert str(caught.value) == (
        "feature group 'g', nothing was written: column 'rsi': 2 of 3 rows are above the maximum 100, the "
        "first is row 1 (symbol S1, timestamp 2024-01-01 01:00:00.000000): 130.0. Correct the rows, or give "
        "on_violation='quarantine' or 'warn'"
    )
    assert store.list_feature_groups() == []
    assert list(store.root.rglob("*.parquet")) == []


def test_quarantined_rows_are_set_aside_with_their_reasons(store: FeatureStore) -> None:
    expect(store, "rsi", minimum=0, maximum=100, on_violation="quarantine")
    expect(store, "side", allowed_values=["buy", "sell"], on_violation="quarantine")
    report = write(store, frame([50, 130, -1, 60], ["buy", "buy", "bye", "sell"]))
    assert (report.rows_written, report.rows_quarantined) == (2, 2)
    assert [(each.feature, each.rule, each.rows, each.first_row) for each in report.violations] == [
        ("rsi", "minimum", 1, 2),
        ("rsi", "maximum", 1, 1),
        ("side", "allowed_values", 1, 2),
    ]
    assert store.read_offline_features("g")["symbol"].tolist() == ["S0", "S3"]
    aside = store.read_quarantined_features("g")
    assert aside["quarantine_reason"].tolist() == [
        "rsi is above the maximum 100",
        "rsi is below the minimum 0; side is not among buy, sell",
    ]
    assert aside["rsi"].tolist() == [130, -1]
    assert list(aside) == [*frame([1]), "quarantine_reason"]
    assert store.read_quarantined_features("g", "2024-01-02").empty


def test_a_write_tried_again_sets_nothing_aside_twice(store: FeatureStore) -> None:
    expect(store, "rsi", maximum=100, on_violation="quarantine")
    for _ in range(2):
        assert write(store, frame([50, 130])).rows_quarantined == 1
    assert len(store.read_quarantined_features("g")) == 1
    assert len(store.read_offline_features("g")) == 1


def test_a_write_of_bad_rows_alone_makes_no_group(store: FeatureStore) -> None:
    expect(store, "rsi", maximum=100, on_violation="quarantine")
    report = write(store, frame([130, 140]))
    assert (report.rows_written, report.rows_quarantined) == (0, 2)
    assert store.list_feature_groups() == []
    assert len(store.read_quarantined_features("g")) == 2


def test_quarantine_follows_a_group_that_grows(store: FeatureStore) -> None:
    expect(store, "rsi", maximum=100, on_violation="quarantine")
    write(store, frame([50, 130]))
    write(store, frame([50, 60, 130]).assign(volume=[1, 2, 3]))
    aside = store.read_quarantined_features("g")
    assert aside["volume"].isna().tolist() == [True, False]
    assert aside["quarantine_reason"].notna().all()


def test_a_refused_write_sets_nothing_aside(store: FeatureStore) -> None:
    expect(store, "rsi", maximum=100, on_violation="quarantine")
    expect(store, "side", allowed_values=["buy"])
    with pytest.raises(ExpectationFailed, match="not among buy"):
        write(store, frame([50, 130], ["buy", "sell"]))
    assert not (store.root / "quarantine").exists()


def test_warned_rows_are_written_and_told(store: FeatureStore) -> None:
    expect(store, "rsi", maximum=100, on_violation="warn")
    with pytest.warns(ExpectationWarning, match=r"'g': 2 rows written; column 'rsi': 1 of 2 rows") as caught:
        assert store.write_offline_features("g", frame([50, 130]), entity_column="symbol") == 2
    warning = caught[0].message
    assert isinstance(warning, ExpectationWarning)
    assert caught[0].filename == __file__
    assert warning.report.violations[0].first_value == "130.0"
    assert len(store.read_offline_features("g")) == 2


def test_quarantine_is_told_by_a_warning_too(store: FeatureStore) -> None:
    expect(store, "rsi", maximum=100, on_violation="quarantine")
    with pytest.warns(ExpectationWarning, match="1 rows written, 1 quarantined"):
        assert store.write_offline_features("g", frame([50, 130]), entity_column="symbol") == 1


def test_good_rows_and_columns_without_expectations_are_quiet(store: FeatureStore) -> None:
    expect(store, "rsi", minimum=0, maximum=100, max_null_share=0.5)
    expect(store, "side")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store.write_offline_features("g", frame([0, 100, None]), entity_column="symbol")


def test_a_write_may_decide_otherwise_than_the_definition(store: FeatureStore) -> None:
    expect(store, "rsi", maximum=100)
    assert write(store, frame([50, 130]), "quarantine").rows_quarantined == 1
    assert write(store, frame([50, 130]), "warn").rows_written == 2
    with pytest.raises(InvalidFeatures, match="on_violation is one of reject, quarantine, warn, not 'drop'"):
        write(store, frame([50]), "drop")  # type: ignore[arg-type]


def test_too_many_nulls_break_their_share_and_fewer_do_not(store: FeatureStore) -> None:
    expect(store, "rsi", max_null_share=0.5)
    write(store, frame([1, None]))
    with pytest.raises(ExpectationFailed, match=r"2 of 3 rows are null, more than the 0\.5 of all"):
        write(store, frame([1, None, None]))
    assert write(store, frame([1, None, None]), "quarantine").rows_quarantined == 2


def test_the_newest_version_of_a_definition_counts(store: FeatureStore) -> None:
    expect(store, "rsi", maximum=100)
    expect(store, "rsi", "1.1", maximum=200)
    assert write(store, frame([130])).violations == ()
    expect(store, "rsi", "2.0")
    assert write(store, frame([1000])).violations == ()


def test_a_rule_that_does_not_fit_its_column_is_told(store: FeatureStore) -> None:
    expect(store, "side", minimum=0)
    with pytest.raises(FeatureConflict, match="column 'side' holds string, which has no minimum"):
        write(store, frame([1]))


def test_the_entitys_key_may_have_expectations(store: FeatureStore) -> None:
    expect(store, "symbol", allowed_values=["S0", "S1"])
    write(store, frame([1, 2]))
    with pytest.raises(ExpectationFailed, match="column 'symbol': 1 of 3 rows are not among S0, S1"):
        write(store, frame([1, 2, 3]))
    assert store.check_features("g", features=["symbol"]).ok


def test_stored_rows_are_checked_against_what_is_expected_now(store: FeatureStore) -> None:
    write(store, frame([50, 130, None]))
    assert store.check_features("g") == CheckReport("g", 3, (), ("symbol", "rsi", "side"), ())
    expect(store, "rsi", maximum=100, max_null_share=0.5)
    report = store.check_features("g")
    assert not report.ok
    assert (report.rows, report.features, report.unchecked) == (3, ("rsi",), ("symbol", "side"))
    assert [(each.rule, each.rows, each.first_value) for each in report.violations] == [
        ("maximum", 1, "130.0")
    ]
    assert store.check_features("g", end_date="2024-01-01T00:30").ok
    assert store.check_features("g", "2030-01-01").rows == 0
    assert store.check_features("g", features=["side"]).ok


def test_a_check_of_what_is_not_there_is_refused(store: FeatureStore) -> None:
    with pytest.raises(UnknownFeatureGroup):
        store.check_features("g")
    write(store, frame([1]))
    with pytest.raises(UnknownFeature, match="no feature 'rsj'; did you mean rsi"):
        store.check_features("g", features=["rsj"])
    assert list(store.read_quarantined_features("g")) == [*frame([1]), "quarantine_reason"]
    with pytest.raises(UnknownFeatureGroup):
        store.read_quarantined_features("h")


def test_a_definition_with_expectations_is_readable_and_marked(store: FeatureStore) -> None:
    expect(store, "rsi", minimum=0, maximum=100, on_violation="warn")
    stored = json.loads((store.root / "metadata/features/rsi/1.0.json").read_text())
    assert stored["format"] == 2
    assert stored["feature"]["expectations"] == {"minimum": 0, "maximum": 100, "on_violation": "warn"}
    assert store.get_feature("rsi").expectations == Expectations(minimum=0, maximum=100, on_violation="warn")
    expect(store, "rsi", "1.1", minimum=0, maximum=90, on_violation="warn")
    differences = [(each.field, each.before, each.after) for each in store.diff_features("rsi", "1.0", "1.1")]
    assert differences == [("expectations.maximum", 100, 90)]


@given(rsi=st.lists(st.none() | st.integers(-10, 110).map(float), min_size=1, max_size=12))
@settings(max_examples=20)
def test_each_row_is_either_written_or_set_aside(
    rsi: list[float | None], tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = FeatureStore(tmp_path_factory.mktemp("store"))
    expect(store, "rsi", minimum=0, maximum=100, max_null_share=0.25, on_violation="quarantine")
    report = write(store, frame(rsi))
    nulls_are_bad = rsi.count(None) > 0.25 * len(rsi)
    bad = [nulls_are_bad if value is None else not 0 <= value <= 100 for value in rsi]
    assert report.rows_quarantined == sum(bad)
    assert report.rows_written == len(rsi) - sum(bad)
    aside = store.read_quarantined_features("g")["symbol"].tolist() if any(bad) else []
    assert aside == [f"S{row}" for row, is_bad in enumerate(bad) if is_bad]
