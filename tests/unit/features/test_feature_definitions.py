"""Feature definitions on disk: readable, versioned, never overwritten."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from mlinfra.features import CorruptFeatures, FeatureConflict, FeatureMetadata, FeatureStore, UnknownFeature
from mlinfra.features.metadata import is_name

RSI = FeatureMetadata(
    name="rsi",
    version="1.0",
    description="Relative strength index, 0 to 100",
    feature_type="technical",
    data_type="float",
    source="indicator_calculator",
    dependencies=[],
)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path)


def test_a_definition_is_a_readable_file_under_metadata(store: FeatureStore) -> None:
    store.register_feature(RSI)
    stored = json.loads((store.root / "metadata/features/rsi/1.0.json").read_text())
    assert stored["feature"] == RSI.model_dump(mode="json", exclude_none=True)
    assert stored["format"] == 1
    assert store.get_feature("rsi") == RSI


def test_the_same_definition_again_leaves_the_file_alone(store: FeatureStore) -> None:
    store.register_feature(RSI)
    path = store.root / "metadata/features/rsi/1.0.json"
    before = path.read_bytes()
    store.register_feature(RSI)
    assert path.read_bytes() == before


def test_another_content_of_the_same_version_is_refused(store: FeatureStore) -> None:
    store.register_feature(RSI)
    with pytest.raises(
        FeatureConflict, match=r"'rsi' version '1.0'.*source: 'indicator_calculator' became 'x'"
    ):
        store.register_feature(RSI.model_copy(update={"source": "x"}))
    assert store.get_feature("rsi") == RSI


def test_the_newest_version_is_the_highest_not_the_last_of_the_alphabet(store: FeatureStore) -> None:
    for version in ("1.10", "1.9", "1.2"):
        store.register_feature(RSI.model_copy(update={"version": version}))
    assert store.get_feature("rsi").version == "1.10"
    assert store.get_feature("rsi", "1.2").version == "1.2"
    assert [each.version for each in store.list_features()] == ["1.2", "1.9", "1.10"]


def test_unknown_features_and_versions_are_answered_with_those_there_are(store: FeatureStore) -> None:
    with pytest.raises(UnknownFeature, match="there are none yet"):
        store.get_feature("rsi")
    store.register_feature(RSI)
    with pytest.raises(UnknownFeature, match="did you mean rsi"):
        store.get_feature("rsj")
    with pytest.raises(UnknownFeature, match=r"has no version '2\.0'.* 1\.0"):
        store.get_feature("rsi", "2.0")


@pytest.mark.parametrize("name", ["", "../rsi", "a/b", ".rsi", "rsi\n", "r" * 129])
def test_a_name_that_is_no_file_name_is_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        FeatureMetadata(name=name)


def test_a_damaged_definition_is_named(store: FeatureStore) -> None:
    store.register_feature(RSI)
    path = store.root / "metadata/features/rsi/1.0.json"
    path.write_text("{")
    with pytest.raises(CorruptFeatures, match=r"rsi/1\.0\.json is not a feature definition"):
        store.list_features()


@pytest.mark.parametrize(("text", "named"), [("rsi", True), ("r" * 128, True), ("rsi\n", False), ("", False)])
def test_what_can_be_a_name(text: str, named: bool) -> None:
    assert is_name(text) is named
