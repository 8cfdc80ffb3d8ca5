"""Rows as bytes: what goes in comes out, however they are decoded, and damage is told."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlinfra.features import CorruptFeatures, FeatureStatus
from mlinfra.features.online.decode import RowDecoder
from mlinfra.features.online.group import OnlineGroup
from mlinfra.features.online.packed import is_whole, pack, plain_width, unpack, without_exact
from mlinfra.features.online.status import NEVER

TYPES = ["double", "int64", "string", "double", "timestamp[us, tz=UTC]"]
GROUP = OnlineGroup(
    name="g", version="1.0", key_type="text", columns={f"c{place}": kind for place, kind in enumerate(TYPES)}
)
STAMPS = st.integers(-(2**63) + 1, 2**63 - 1)
NUMBERS = st.floats(allow_infinity=False) | st.just(math.nan)
EXACT_VALUES = st.integers(2**53, 2**62) | st.sampled_from(["", "é", "long text"])
EXACT = st.dictionaries(st.integers(0, 4), EXACT_VALUES, max_size=3)
FEATURES = st.lists(st.sampled_from(list(GROUP.columns)), min_size=1, max_size=5, unique=True)
ROW = st.tuples(STAMPS, STAMPS, st.lists(NUMBERS, min_size=1, max_size=5), EXACT)
PLAIN_ROW = st.tuples(STAMPS, STAMPS, st.lists(NUMBERS, min_size=5, max_size=5), st.just({}))
ROWS = st.lists(st.none() | ROW, max_size=5) | st.lists(st.none() | PLAIN_ROW, max_size=5)

Row = tuple[int, int, list[float], dict[int, Any]]


def packed(row: Row) -> bytes:
    event, created, values, exact = row
    kept = {column: value for column, value in exact.items() if column < len(values)}
    return pack(np.array([event]), np.array([created]), np.array([values]), [kept])[0]


@given(row=ROW)
def test_a_row_comes_out_as_it_went_in(row: Row) -> None:
    content = packed(row)
    event, values, exact = unpack(content)
    assert is_whole(content)
    assert event == row[0]
    np.testing.assert_array_equal(values, row[2])
    assert exact == {column: value for column, value in row[3].items() if column < len(row[2])}
    bare = without_exact(content)
    assert plain_width(bare) == len(row[2])
    assert plain_width(content) == (-1 if exact else len(row[2]))


@given(rows=ROWS, features=FEATURES)
def test_every_way_of_decoding_gives_the_same(rows: list[Row | None], features: list[str]) -> None:
    decoder = RowDecoder(GROUP, features, place="there")
    block = decoder.decode([None if row is None else packed(row) for row in rows])
    for number, row in enumerate(rows):
        assert block.events[number] == (NEVER if row is None else row[0])
        for place, feature in enumerate(features):
            position = int(feature[1:])
            if row is None or position >= len(row[2]):
                assert block.status[number, place] == FeatureStatus.MISSING
                assert math.isnan(block.values[number, place])
                continue
            value, is_number = row[2][position], TYPES[position] in ("double", "int64")
            wanted = FeatureStatus.NULL if math.isnan(value) else FeatureStatus.PRESENT
            assert block.status[number, place] == wanted
            np.testing.assert_equal(block.values[number, place], value if is_number else math.nan)
            exact = block.exact[number] if block.exact else {}
            if TYPES[position] != "double":
                assert exact.get(place) == row[3].get(position)


@given(rows=st.lists(ROW | PLAIN_ROW, min_size=1, max_size=4), data=st.data())
def test_a_truncated_row_is_told(rows: list[Row], data: st.DataObject) -> None:
    contents = [packed(row) for row in rows]
    damaged = data.draw(st.integers(0, len(rows) - 1))
    contents[damaged] = contents[damaged][: data.draw(st.integers(0, len(contents[damaged]) - 1))]
    if contents[damaged]:
        with pytest.raises(CorruptFeatures, match=r"feature group 'g' .* in there is damaged"):
            RowDecoder(GROUP, ["c0"], place="there").decode(contents)


def test_the_exact_section_is_json() -> None:
    content = packed((1, 2, [0.0, 5.0], {0: "é"}))
    assert json.loads(content[24 + 2 * 8 :]) == {"0": "é"}
