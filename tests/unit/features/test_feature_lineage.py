"""The lineage of a feature, and its three forms."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlinfra.features import FeatureMetadata, FeatureStore, UnknownFeature
from mlinfra.features.lineage import lineage_of


def feature(name: str, *dependencies: str, version: str = "1.0") -> FeatureMetadata:
    return FeatureMetadata(name=name, version=version, dependencies=dependencies)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    store = FeatureStore(tmp_path)
    store.register_features(
        [
            feature("log_return", "raw:close"),
            feature("volatility", "log_return"),
            feature("momentum", "log_return", "raw:close"),
            feature("signal", "volatility", "momentum"),
            feature("alone"),
        ]
    )
    return store


def names(nodes: tuple[object, ...]) -> list[str]:
    return [str(getattr(node, "name", "")) for node in nodes]


def test_both_directions_reach_all_the_way(store: FeatureStore) -> None:
    lineage = store.feature_lineage("volatility")
    assert names(lineage.upstream) == ["log_return@1.0", "raw:close"]
    assert names(lineage.downstream) == ["signal@1.0"]
    assert names(store.feature_lineage("signal").upstream) == [
        "log_return@1.0",
        "momentum@1.0",
        "raw:close",
        "volatility@1.0",
    ]


def test_the_tree_shows_a_shared_branch_once(store: FeatureStore) -> None:
    assert store.feature_lineage("signal").tree() == (
        "signal@1.0\n"
        "  computed from:\n"
        "    momentum@1.0\n"
        "      log_return@1.0\n"
        "        raw:close\n"
        "      raw:close\n"
        "    volatility@1.0\n"
        "      log_return@1.0 (see above)\n"
        "  used by: nothing"
    )


def test_dot_and_mermaid_name_every_node_and_edge(store: FeatureStore) -> None:
    lineage = store.feature_lineage("volatility")
    assert lineage.dot() == (
        "digraph lineage {\n"
        "  rankdir=LR;\n"
        '  "log_return@1.0" [shape=box];\n'
        '  "raw:close" [shape=ellipse];\n'
        '  "signal@1.0" [shape=box];\n'
        '  "volatility@1.0" [shape=box];\n'
        '  "log_return@1.0" -> "volatility@1.0";\n'
        '  "raw:close" -> "log_return@1.0";\n'
        '  "volatility@1.0" -> "signal@1.0";\n'
        "}"
    )
    assert lineage.mermaid() == (
        "flowchart LR\n"
        '  n0["log_return@1.0"]\n'
        '  n1(["raw:close"])\n'
        '  n2["signal@1.0"]\n'
        '  n3["volatility@1.0"]\n'
        "  n0 --> n3\n"
        "  n1 --> n0\n"
        "  n3 --> n2"
    )


def test_a_feature_without_relatives_is_alone(store: FeatureStore) -> None:
    lineage = store.feature_lineage("alone")
    assert lineage.tree() == "alone@1.0\n  computed from: nothing\n  used by: nothing"
    assert lineage.edges == ()


def test_an_unpinned_dependency_follows_the_newest_version(store: FeatureStore) -> None:
    store.register_feature(feature("log_return", "raw:adjusted", version="1.1"))
    assert names(store.feature_lineage("volatility").upstream) == ["log_return@1.1", "raw:adjusted"]
    assert names(store.feature_lineage("log_return", "1.0").downstream) == []


def test_an_unknown_feature_has_no_lineage(store: FeatureStore) -> None:
    with pytest.raises(UnknownFeature, match="did you mean signal"):
        store.feature_lineage("signals")


@given(
    links=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)).filter(lambda pair: pair[0] < pair[1])),
    start=st.integers(0, 9),
)
def test_what_is_upstream_of_a_feature_has_it_downstream(links: list[tuple[int, int]], start: int) -> None:
    definitions = [
        feature(f"f{number}", *sorted({f"f{source}" for source, result in links if result == number}))
        for number in range(10)
    ]
    by_name = {each.name: {each.version: each} for each in definitions}

    def lineage(name: str) -> set[str]:
        return {
            node.name for node in lineage_of(by_name[name]["1.0"], definitions, by_name.__getitem__).upstream
        }

    this = lineage_of(definitions[start], definitions, by_name.__getitem__)
    for node in this.downstream:
        assert this.feature.name in lineage(node.name.removesuffix("@1.0"))
    assert this.tree().count("\n") >= len(this.upstream) + len(this.downstream)
