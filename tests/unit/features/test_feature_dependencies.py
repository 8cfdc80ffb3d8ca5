"""Dependencies between definitions: there when a definition is registered, and as long as it is."""

from collections.abc import Callable
from graphlib import TopologicalSorter
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from mlinfra.errors import InvalidInputError
from mlinfra.features import (
    CyclicDependency,
    FeatureConflict,
    FeatureInUse,
    FeatureMetadata,
    FeatureStore,
    InvalidDefinition,
    MissingDependency,
    UnknownFeature,
)
from mlinfra.features.dependencies import Dependency, parse_dependency


def feature(name: str, *dependencies: str, version: str = "1.0", description: str = "") -> FeatureMetadata:
    return FeatureMetadata(name=name, version=version, description=description, dependencies=dependencies)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path)


@pytest.mark.parametrize(
    ("text", "dependency"),
    [
        ("rsi", Dependency("rsi")),
        ("rsi@1.0", Dependency("rsi", "1.0")),
        ("raw:close", Dependency("close", is_raw=True)),
        ("raw:Adj Close", Dependency("Adj Close", is_raw=True)),
        ("raw:a@b", Dependency("a@b", is_raw=True)),
    ],
)
def test_the_three_kinds_of_dependency(text: str, dependency: Dependency) -> None:
    assert parse_dependency(text) == dependency
    assert str(dependency) == text


@pytest.mark.parametrize("text", ["", "rsi@", "@1.0", "raw:", "raw: ", "rsi==1.0", "rsi 1.0", "a@b@c", "x/y"])
def test_what_is_no_dependency_is_told_how_to_write_one(store: FeatureStore, text: str) -> None:
    with pytest.raises(InvalidDefinition, match=r"is no dependency; write a feature as 'rsi' or 'rsi@1\.0'"):
        store.register_feature(feature("macd", text))


def test_raw_columns_need_no_definition(store: FeatureStore) -> None:
    store.register_feature(feature("rsi", "raw:close"))
    assert store.get_feature("rsi").dependencies == ("raw:close",)


def test_a_missing_dependency_is_refused_with_what_may_be_meant(store: FeatureStore) -> None:
    store.register_feature(feature("rsi"))
    with pytest.raises(
        MissingDependency,
        match=r"'macd' version '1\.0' depends on 'rsj', which is not.* did you mean rsi\?.*'raw:rsj'",
    ):
        store.register_feature(feature("macd", "rsj"))
    assert [each.name for each in store.list_features()] == ["rsi"]


def test_a_missing_version_is_refused_with_those_there_are(store: FeatureStore) -> None:
    store.register_feature(feature("rsi"))
    with pytest.raises(MissingDependency, match=r"depends on 'rsi@2\.0'.* there are: 1\.0"):
        store.register_feature(feature("macd", "rsi@2.0"))


def test_a_feature_cannot_depend_on_itself(store: FeatureStore) -> None:
    with pytest.raises(CyclicDependency, match=r"rsi@1\.0 → rsi@1\.0"):
        store.register_feature(feature("rsi", "rsi"))
    assert store.list_features() == []


def test_a_new_version_must_not_close_a_cycle_through_the_newest(store: FeatureStore) -> None:
    store.register_features([feature("a"), feature("b", "a"), feature("c", "b")])
    with pytest.raises(CyclicDependency, match=r"a@2\.0 → c@1\.0 → b@1\.0 → a@2\.0"):
        store.register_feature(feature("a", "c", version="2.0"))
    assert store.get_feature("a").version == "1.0"


def test_a_pinned_version_closes_no_cycle(store: FeatureStore) -> None:
    store.register_features([feature("a"), feature("b", "a@1.0")])
    store.register_feature(feature("a", "b", version="2.0"))
    store.register_feature(feature("a", "a@2.0", version="3.0"))
    assert store.get_feature("a").version == "3.0"


def test_features_registered_together_may_come_in_any_order(store: FeatureStore) -> None:
    store.register_features([feature("c", "b"), feature("b", "a"), feature("a")])
    assert [each.name for each in store.list_features()] == ["a", "b", "c"]


def test_of_features_registered_together_all_are_refused_or_none(store: FeatureStore) -> None:
    with pytest.raises(CyclicDependency, match=r"a@1\.0 → b@1\.0 → a@1\.0"):
        store.register_features([feature("z"), feature("a", "b"), feature("b", "a")])
    with pytest.raises(MissingDependency):
        store.register_features([feature("z"), feature("y", "x")])
    with pytest.raises(FeatureConflict, match="given twice"):
        store.register_features([feature("z"), feature("z", description="other")])
    assert store.list_features() == []


def test_what_others_depend_on_is_not_deleted(store: FeatureStore) -> None:
    store.register_features([feature("a"), feature("b", "a"), feature("c", "a@1.0")])
    with pytest.raises(FeatureInUse, match=r"'a' version '1\.0' is used by b@1\.0, c@1\.0; delete"):
        store.delete_feature("a", "1.0")
    store.register_feature(feature("a", version="2.0"))
    with pytest.raises(FeatureInUse, match=r"version '2\.0' is used by b@1\.0;"):
        store.delete_feature("a", "2.0")
    for name in ("b", "c", "a"):
        store.delete_feature(name, "1.0")
    assert [(each.name, each.version) for each in store.list_features()] == [("a", "2.0")]


def test_what_is_not_there_is_not_deleted(store: FeatureStore) -> None:
    with pytest.raises(UnknownFeature, match="there are none yet"):
        store.delete_feature("a", "1.0")
    store.register_feature(feature("a"))
    with pytest.raises(UnknownFeature, match=r"no version '2\.0'; there are: 1\.0"):
        store.delete_feature("a", "2.0")


def test_a_deleted_version_comes_back_only_as_it_was(store: FeatureStore) -> None:
    store.register_feature(feature("a", description="one"))
    store.delete_feature("a", "1.0")
    with pytest.raises(FeatureConflict, match=r"'a' version '1\.0' is deleted, and was registered"):
        store.register_feature(feature("a", description="two"))
    store.register_feature(feature("a", description="one"))
    store.delete_feature("a", "1.0")
    assert store.list_features() == []


def test_the_last_definition_of_a_stored_column_is_not_deleted(store: FeatureStore) -> None:
    store.register_features([feature("a"), feature("a", version="2.0")])
    times = pd.date_range("2024-01-01", periods=2)
    store.write_offline_features("g", pd.DataFrame({"timestamp": times, "symbol": "X", "a": [1.0, 2.0]}))
    store.delete_feature("a", "1.0")
    with pytest.raises(FeatureInUse, match=r"only version '2\.0', and its values are in feature group g"):
        store.delete_feature("a", "2.0")


def test_definitions_of_an_earlier_release_keep_their_unmarked_raw_columns(store: FeatureStore) -> None:
    folder = store.root / "metadata/features/rsi"
    folder.mkdir(parents=True)
    (folder / "1.0.json").write_text(
        '{"format": 1, "registered_at": "2026-01-01T00:00:00Z", '
        '"feature": {"name": "rsi", "version": "1.0", "dependencies": ["close", "adj close"]}}'
    )
    assert store.get_feature("rsi").dependencies == ("close", "adj close")
    store.register_feature(feature("rsi", "close", "adj close"))
    store.register_feature(feature("macd", "rsi"))
    assert "close (not registered)" in store.feature_lineage("macd").tree()


def test_the_difference_of_two_versions(store: FeatureStore) -> None:
    store.register_features([feature("a"), feature("b"), feature("b", "a", version="1.1", description="new")])
    differences = [(each.field, each.before, each.after) for each in store.diff_features("b", "1.0", "1.1")]
    assert differences == [("description", "", "new"), ("dependencies", (), ("a",))]
    assert store.diff_features("a", "1.0", "1.0") == ()


NAMES = st.sampled_from("abcd")
VERSIONS = st.sampled_from(["1", "2", "10"])
DEPENDENCIES = st.lists(
    st.one_of(NAMES, st.tuples(NAMES, VERSIONS).map("@".join), st.just("raw:x")), max_size=2, unique=True
)


class RegistryMachine(RuleBasedStateMachine):
    """Whatever is registered and deleted, each dependency is there, and none leads back."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = TemporaryDirectory()
        self.store = FeatureStore(Path(self._folder.name))

    def teardown(self) -> None:
        self._folder.cleanup()

    @rule(name=NAMES, version=VERSIONS, dependencies=DEPENDENCIES)
    def register(self, name: str, version: str, dependencies: list[str]) -> None:
        self._attempt(lambda: self.store.register_feature(feature(name, *dependencies, version=version)))

    @rule(name=NAMES, version=VERSIONS)
    def delete(self, name: str, version: str) -> None:
        self._attempt(lambda: self.store.delete_feature(name, version))

    def _attempt(self, change: Callable[[], None]) -> None:
        before = self.store.list_features()
        try:
            change()
        except InvalidInputError:
            assert self.store.list_features() == before

    @invariant()
    def every_dependency_is_there_and_none_leads_back(self) -> None:
        there = {(each.name, each.version): each for each in self.store.list_features()}
        graph: dict[tuple[str, str], set[tuple[str, str]]] = {}
        for key, definition in there.items():
            graph[key] = set()
            for text in definition.dependencies:
                if not text.startswith("raw:"):
                    name, _, pinned = text.partition("@")
                    newest = max((int(v) for n, v in there if n == name), default=0)
                    graph[key].add((name, pinned or str(newest)))
            assert graph[key] <= set(there)
        assert len(list(TopologicalSorter(graph).static_order())) == len(there)


RegistryMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=15)
TestRegistry = RegistryMachine.TestCase
