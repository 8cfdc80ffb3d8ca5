"""Files of one's own in the feature store: written once, or refused with file, column and row."""

import gzip
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlinfra.features import FeatureConflict, FeatureStore, InvalidFeatures, get_feature_store
from mlinfra.features import data_file as data_file_module
from mlinfra.features.file_names import group_name
from mlinfra.features.own_data import import_file

TIMES = pd.date_range("2024-01-01", periods=4, freq="D")
ROWS = pd.DataFrame({"when": TIMES, "price": [1.0, 2.0, 3.0, 4.0], "up": [0, 1, 1, 0]})


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return get_feature_store(tmp_path / "store")


def parquet(folder: Path, frame: pd.DataFrame, name: str = "prices.parquet") -> Path:
    path = folder / name
    frame.to_parquet(path)
    return path


def text(folder: Path, content: str, name: str = "prices.csv") -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


def csv_of_times(folder: Path, *times: str) -> Path:
    lines = [f"{time},{number},{number % 2}" for number, time in enumerate(times)]
    return text(folder, "\n".join(["event_timestamp,price,up", *lines]) + "\n")


def test_columns_become_features_and_rows_those_of_a_group(store: FeatureStore, tmp_path: Path) -> None:
    done = import_file(store, parquet(tmp_path, ROWS), label="up")
    assert (done.feature_group, done.rows, done.written) == ("prices", 4, 4)
    assert (done.entity_column, done.time_column) == ("entity", "event_timestamp")
    assert (done.first_time, done.last_time) == (TIMES[0].tz_localize(UTC), TIMES[-1].tz_localize(UTC))
    assert done.notices == ("all rows are of one entity, kept as column entity with the value prices",)
    held = store.read_offline_features("prices")
    assert held["price"].tolist() == [1.0, 2.0, 3.0, 4.0]
    assert set(held["entity"]) == {"prices"}
    price, up = store.get_feature("price"), store.get_feature("up")
    assert (price.feature_type, price.data_type, up.feature_type) == ("imported", "double", "label")
    assert price.source.startswith("prices.parquet sha256:")


def test_the_same_rows_from_csv_are_the_same_rows(store: FeatureStore, tmp_path: Path) -> None:
    import_file(store, parquet(tmp_path, ROWS), label="up")
    ROWS.to_csv(tmp_path / "prices.csv", index=False)
    done = import_file(store, tmp_path / "prices.csv", label="up", timestamp="when")
    assert (done.rows, done.written) == (4, 0)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_csv_with_any_delimiter_compressed_and_with_a_byte_order_mark(
    store: FeatureStore, tmp_path: Path, delimiter: str
) -> None:
    path = tmp_path / "prices.csv.gz"
    content = ROWS.to_csv(index=False, sep=delimiter)
    path.write_bytes(gzip.compress(b"\xef\xbb\xbf" + content.encode()))
    done = import_file(store, path, label="up", timestamp="when")
    assert (done.feature_group, done.written) == ("prices", 4)
    assert store.read_offline_features("prices")["up"].tolist() == [0, 1, 1, 0]


def test_the_one_column_of_texts_tells_the_entity(store: FeatureStore, tmp_path: Path) -> None:
    frame = pd.concat([ROWS.assign(symbol="A"), ROWS.assign(symbol="B")])
    done = import_file(store, parquet(tmp_path, frame), label="up")
    assert (done.entity_column, done.written) == ("symbol", 8)
    assert "column symbol tells the entity" in done.notices[-1]


def test_a_bad_cell_among_numbers_makes_no_entity(store: FeatureStore, tmp_path: Path) -> None:
    lines = [f"2024-01-0{day},{'n/a?' if day == 4 else day},{day % 2}" for day in range(1, 7)]
    path = text(tmp_path, "\n".join(["event_timestamp,price,up", *lines]) + "\n")
    message = "column 'price' holds numbers but for 1 values, the first 'n/a\\?' in row 4"
    with pytest.raises(InvalidFeatures, match=message):
        import_file(store, path, label="up")
    assert store.list_feature_groups() == []
    assert import_file(store, path, label="up", entity="price").entity_column == "price"


def test_a_label_of_texts_is_no_entity(store: FeatureStore, tmp_path: Path) -> None:
    frame = ROWS.assign(up=["no", "yes", "yes", "no"])
    assert import_file(store, parquet(tmp_path, frame), label="up").entity_column == "entity"


def test_several_columns_of_texts_need_a_word(store: FeatureStore, tmp_path: Path) -> None:
    path = parquet(tmp_path, ROWS.assign(symbol="A", note="x"))
    with pytest.raises(InvalidFeatures, match=r"symbol, note all hold text; name it with --entity"):
        import_file(store, path, label="up")
    assert import_file(store, path, label="up", entity="symbol").entity_column == "symbol"
    assert import_file(store, path, label="up").entity_column == "symbol"
    one = import_file(store, path, label="up", one_entity=True, feature_group="one")
    assert one.entity_column == "entity"


def test_a_file_that_grew_adds_its_new_rows_only(store: FeatureStore, tmp_path: Path) -> None:
    import_file(store, parquet(tmp_path, ROWS), label="up")
    grown = pd.concat([ROWS, ROWS.assign(when=TIMES + timedelta(days=10))], ignore_index=True)
    done = import_file(store, parquet(tmp_path, grown), label="up")
    assert (done.rows, done.written) == (8, 4)
    assert len(store.read_offline_features("prices")) == 8
    assert [each.version for each in store.list_features() if each.name == "price"] == ["1.0"]


def test_values_that_were_missing_and_new_columns_are_filled(store: FeatureStore, tmp_path: Path) -> None:
    early = ROWS.assign(up=pd.array([0, 1, 1, None], dtype="Int64"))
    import_file(store, parquet(tmp_path, early), label="up")
    assert import_file(store, parquet(tmp_path, ROWS), label="up").written == 1
    wider = ROWS.assign(volume=[1, 2, 3, 4])
    assert import_file(store, parquet(tmp_path, wider), label="up").written == 4
    assert import_file(store, parquet(tmp_path, wider), label="up").written == 0
    held = store.read_offline_features("prices")
    assert held["up"].tolist() == [0, 1, 1, 0]
    assert held["volume"].tolist() == [1, 2, 3, 4]


def test_another_file_with_such_a_column_is_another_definition(store: FeatureStore, tmp_path: Path) -> None:
    import_file(store, parquet(tmp_path, ROWS), label="up")
    import_file(store, parquet(tmp_path, ROWS, "other.parquet"), label="up")
    assert [each.version for each in store.list_features() if each.name == "price"] == ["1.0", "2.0"]


def changed(price: Any) -> pd.DataFrame:
    return ROWS.assign(price=price)


CONFLICTS: dict[str, tuple[pd.DataFrame, str]] = {
    "value": (
        changed([1.0, 9.0, 3.0, 4.0]),
        r"column 'price' differs in 1 rows .* first in row 2 \(prices, 2024-01-02 .*: 9.0 here, 2.0 there",
    ),
    "value gone": (
        changed([1.0, None, 3.0, 4.0]),
        r"column 'price' differs in 1 rows .* nan here, 2.0 there",
    ),
    "column gone": (ROWS.drop(columns="price"), r"has no column price, which feature group 'prices' has"),
    "entity": (ROWS.rename(columns={"price": "symbol"}).assign(symbol="A", price=1.0), "is told by 'symbol'"),
    "type": (
        ROWS.assign(when=TIMES + timedelta(days=9), up=[0.5, 1.5, 0.5, 1.5]),
        "column 'up' of feature group 'prices' is int64, and the rows given have double",
    ),
}


@pytest.mark.parametrize("case", CONFLICTS)
def test_what_contradicts_the_store_is_refused_and_changes_nothing(
    store: FeatureStore, tmp_path: Path, case: str
) -> None:
    frame, message = CONFLICTS[case]
    import_file(store, parquet(tmp_path, ROWS), label="up")
    with pytest.raises((FeatureConflict, InvalidFeatures), match=message):
        import_file(store, parquet(tmp_path, frame), label="up")
    assert store.read_offline_features("prices")["price"].tolist() == [1.0, 2.0, 3.0, 4.0]


def test_an_index_of_pandas_is_no_feature(store: FeatureStore, tmp_path: Path) -> None:
    frame = ROWS.iloc[[3, 1, 0, 2]]
    done = import_file(store, parquet(tmp_path, frame), label="up")
    assert "a column without a name is left out" in done.notices[0]
    frame.to_csv(tmp_path / "prices.csv")
    assert import_file(store, tmp_path / "prices.csv", label="up", timestamp="when").written == 0
    indexed = ROWS.set_index("when").rename_axis(None)
    assert import_file(store, parquet(tmp_path, indexed, "prices.pq"), label="up").written == 0
    indexed.to_csv(tmp_path / "prices.csv")
    assert import_file(store, tmp_path / "prices.csv", label="up").written == 0


def test_columns_that_the_store_cannot_hold_are_left_out(store: FeatureStore, tmp_path: Path) -> None:
    table = pa.table(
        {
            "event_timestamp": pa.array(TIMES.to_numpy()),
            "price": pa.array([1, 2, 3, 4], pa.decimal128(10, 2)),
            "day": pa.array([datetime(2024, 1, 1).date()] * 4),
            "book": [[1, 2]] * 4,
            "up": [True, False, True, False],
        }
    )
    pq.write_table(table, tmp_path / "prices.parquet")
    done = import_file(store, tmp_path / "prices.parquet", label="up")
    assert done.notices[0] == "column book is left out: it holds list<element: int64>"
    held = store.read_offline_features("prices")
    assert held["price"].tolist() == [1.0, 2.0, 3.0, 4.0]
    assert "book" not in held


@pytest.mark.parametrize(
    ("times", "expected", "notice"),
    [
        (("2024-01-01", "2024-01-02"), "2024-01-01 00:00:00", ""),
        (("2024-01-01 09:30", "2024-01-02T10:00:00.5"), "2024-01-01 09:30:00", ""),
        (("2024-03-31T01:30+01:00", "2024-03-31T03:30+02:00"), "2024-03-31 00:30:00", ""),
        (("2024-01-01T09:30Z", "2024-01-02T09:30Z"), "2024-01-01 09:30:00", ""),
        (("1704067200", "1704067260"), "2024-01-01 00:00:00", "read as seconds since 1970"),
        (("1704067200000", "1704067260000"), "2024-01-01 00:00:00", "read as milliseconds since 1970"),
    ],
)
def test_times_however_they_are_written(
    store: FeatureStore, tmp_path: Path, times: tuple[str, ...], expected: str, notice: str
) -> None:
    done = import_file(store, csv_of_times(tmp_path, *times), label="up")
    assert done.first_time == datetime.fromisoformat(expected).replace(tzinfo=UTC)
    assert notice in " ".join(done.notices)


WRONG_TIMES = {
    "no time": (("2024-01-01", "soon"), r"column 'event_timestamp' holds 'soon' in row 2, which is no time"),
    "day first": (("31/01/2024", "01/02/2024"), r"'31/01/2024' in row 1, which is no time \(2 of 2 rows\)"),
    "mixed zones": (
        ("2024-01-01 09:30", "2024-01-02 09:30", "2024-01-03 09:30Z"),
        r"has no time zone in row 1 .* and a time zone in row 3 \(2024-01-03 09:30Z\)",
    ),
    "missing": (("2024-01-01", ""), r"has no time in 1 of 2 rows, first in row 2"),
    "numbers": (("100000000", "200000000"), r"numbers from 100000000 to 200000000, which are no times"),
    "twice": (("2024-01-01", "2024-01-02", "2024-01-01"), r"1 rows repeat an earlier one .* first row 3"),
}


@pytest.mark.parametrize("case", WRONG_TIMES)
def test_times_that_cannot_be_used_are_told_with_their_row(
    store: FeatureStore, tmp_path: Path, case: str
) -> None:
    times, message = WRONG_TIMES[case]
    with pytest.raises(InvalidFeatures, match=message) as caught:
        import_file(store, csv_of_times(tmp_path, *times), label="up")
    assert str(tmp_path / "prices.csv") in str(caught.value)
    assert store.list_feature_groups() == []


HEADER = "event_timestamp,price,up\n"
ONE_ROW = "2024-01-01,1,0\n2024-01-02,2,1\n"
WRONG_FILES: dict[str, tuple[str, str, str]] = {
    "empty": ("x.csv", "", "x.csv is empty"),
    "no rows": ("x.csv", HEADER, "x.csv has columns but no rows"),
    "kind": ("x.xlsx", "PK", "x.xlsx is neither Parquet nor CSV"),
    "no Parquet": ("x.parquet", HEADER + ONE_ROW, "x.parquet is no Parquet file"),
    "cut off": (
        "x.parquet",
        "PAR1 and then nothing",
        "x.parquet cannot be read as Parquet, it may be cut off",
    ),
    "no text": ("x.csv", "a\0b", "x.csv is no CSV file"),
    "ragged": (
        "x.csv",
        HEADER + ONE_ROW + "2024-01-03,1\n",
        "x.csv cannot be read as CSV: .*Expected 3 columns",
    ),
    "twice": ("x.csv", "event_timestamp,price,price,up\n", "x.csv: column 'price' is there more than once"),
    "name": (
        "x.csv",
        "event_timestamp,close price,up\n2024-01-01,1,0\n",
        "x.csv: column 'close price' cannot name a feature: .*, such as close_price",
    ),
    "reserved": (
        "x.csv",
        "event_timestamp,date,up\n2024-01-01,5,0\n2024-01-02,5,1\n",
        "x.csv: column 'date'",
    ),
    "no label": (
        "x.csv",
        "event_timestamp,price,upp\n" + ONE_ROW,
        "no column 'up' to predict; did you mean upp",
    ),
    "label empty": ("x.csv", HEADER + "2024-01-01,1,\n2024-01-02,2,\n", "label 'up' has no value in any row"),
    "one class": ("x.csv", HEADER + "2024-01-01,1,1\n2024-01-02,2,1\n", "label 'up' is 1 in every row"),
    "infinite": (
        "x.csv",
        HEADER + "2024-01-01,1,1\n2024-01-02,inf,0\n",
        "'price' has 1 infinite values, .* row 2",
    ),
    "column empty": ("x.csv", HEADER + "2024-01-01,,1\n2024-01-02,,0\n", "'price' has no value in any row"),
    "no time": ("x.csv", "day,price,up\n1,1,0\n2,2,1\n", "which column tells the event time"),
}


@pytest.mark.parametrize("case", WRONG_FILES)
def test_files_that_cannot_be_used_are_told(store: FeatureStore, tmp_path: Path, case: str) -> None:
    name, content, message = WRONG_FILES[case]
    with pytest.raises(InvalidFeatures, match=message):
        import_file(store, text(tmp_path, content, name), label="up")
    assert store.list_feature_groups() == []
    assert store.list_features() == []


def test_a_missing_file_and_a_folder(store: FeatureStore, tmp_path: Path) -> None:
    with pytest.raises(InvalidFeatures, match="cannot be read: No such file"):
        import_file(store, tmp_path / "absent.csv", label="up")
    with pytest.raises(InvalidFeatures, match="cannot be read: Is a directory"):
        import_file(store, tmp_path, label="up")


def test_a_file_that_is_too_large_is_told_before_it_is_read(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data_file_module, "MAX_BYTES", 10)
    for path in (parquet(tmp_path, ROWS), csv_of_times(tmp_path, "2024-01-01", "2024-01-02")):
        with pytest.raises(InvalidFeatures, match="write it in parts"):
            import_file(store, path, label="up")


def test_wrong_names_of_columns_are_told(store: FeatureStore, tmp_path: Path) -> None:
    path = parquet(tmp_path, ROWS)
    with pytest.raises(InvalidFeatures, match="no column 'whn' for the event time; did you mean when"):
        import_file(store, path, label="up", timestamp="whn")
    with pytest.raises(InvalidFeatures, match="no column 'symbol' for the entity"):
        import_file(store, path, label="up", entity="symbol")


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("prices.csv.gz", "prices"),
        ("My prices (2024).PARQUET", "My_prices_2024"),
        ("btc-usdt.tsv", "btc-usdt"),
        ("_.csv", "data"),
    ],
)
def test_a_file_names_its_group(name: str, group: str) -> None:
    assert group_name(Path(name)) == group


rows = st.dictionaries(
    st.tuples(st.sampled_from("AB"), st.integers(0, 20)),
    st.tuples(st.none() | st.floats(-5, 5, allow_nan=False), st.booleans()),
    min_size=2,
    max_size=12,
)


def frame_of(content: dict[tuple[str, int], tuple[float | None, bool]]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "symbol": [entity for entity, _ in content],
            "event_timestamp": [TIMES[0] + timedelta(hours=hour) for _, hour in content],
            "price": np.array([price for price, _ in content.values()], dtype=np.float64),
            "up": [up for _, up in content.values()],
        }
    )


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=rows, second=rows)
def test_whatever_is_brought_in_is_held_once(
    first: dict[Any, Any], second: dict[Any, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("store")
    store = get_feature_store(folder)
    both = second | first
    for content in (first, both):
        if len({up for _, up in content.values()}) < 2 or all(price is None for price, _ in first.values()):
            return
    for content, expected in ((first, len(first)), (first, 0), (both, len(both) - len(first)), (both, 0)):
        path = parquet(folder, frame_of(content))
        assert import_file(store, path, label="up").written == expected
    held = store.read_offline_features("prices").set_index(["symbol", "event_timestamp"]).sort_index()
    wanted = frame_of(both)
    wanted["event_timestamp"] = wanted["event_timestamp"].dt.tz_localize("UTC")
    wanted = wanted.set_index(["symbol", "event_timestamp"]).sort_index()
    assert held["price"].equals(wanted["price"])
    assert held["up"].tolist() == wanted["up"].tolist()
