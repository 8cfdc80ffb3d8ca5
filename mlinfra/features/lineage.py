"""Lineage of a feature: what it is computed from, and what is computed from it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from mlinfra.features.dependencies import Versions, full_name, resolve, stored_dependency
from mlinfra.features.metadata import FeatureMetadata

NodeKind = Literal["feature", "raw", "missing"]


@dataclass(frozen=True, slots=True, order=True)
class LineageNode:
    """A feature in one version, or a column of the raw data.

    Attributes:
        name: ``rsi@1.0`` or ``raw:close``, as a dependency is written.
        kind: ``missing`` is a dependency that a store of an earlier release took without a definition.
    """

    name: str
    kind: NodeKind = "feature"


@dataclass(frozen=True, slots=True)
class Lineage:
    """The graph around one feature.

    Attributes:
        feature: the feature asked for.
        edges: pairs of what is used and what is computed from it, sorted.
    """

    feature: LineageNode
    edges: tuple[tuple[LineageNode, LineageNode], ...]

    @property
    def upstream(self) -> tuple[LineageNode, ...]:
        """All that the feature is computed from, directly or not, sorted."""
        return _reachable(self.feature, self._sources)

    @property
    def downstream(self) -> tuple[LineageNode, ...]:
        """All that is computed from the feature, directly or not, sorted."""
        return _reachable(self.feature, self._results)

    def tree(self) -> str:
        """For people: two trees of indented lines."""
        lines = [self.feature.name]
        for title, neighbours in (("computed from", self._sources), ("used by", self._results)):
            lines.append(f"  {title}:" if neighbours(self.feature) else f"  {title}: nothing")
            lines += _branches(self.feature, neighbours)
        return "\n".join(lines)

    def dot(self) -> str:
        """For Graphviz."""
        shapes = {"feature": "box", "raw": "ellipse", "missing": "diamond"}
        nodes = [f'  "{node.name}" [shape={shapes[node.kind]}];' for node in self._nodes()]
        edges = [f'  "{source.name}" -> "{result.name}";' for source, result in self.edges]
        return "\n".join(["digraph lineage {", "  rankdir=LR;", *nodes, *edges, "}"])

    def mermaid(self) -> str:
        """For Markdown: GitHub and others draw a ``mermaid`` block."""
        shapes = {"feature": '["{}"]', "raw": '(["{}"])', "missing": '{{"{}"}}'}
        numbers = {node: f"n{number}" for number, node in enumerate(self._nodes())}
        nodes = [f"  {number}{_wrapped(shapes[node.kind], node.name)}" for node, number in numbers.items()]
        edges = [f"  {numbers[source]} --> {numbers[result]}" for source, result in self.edges]
        return "\n".join(["flowchart LR", *nodes, *edges])

    def _sources(self, node: LineageNode) -> list[LineageNode]:
        return [source for source, result in self.edges if result == node]

    def _results(self, node: LineageNode) -> list[LineageNode]:
        return [result for source, result in self.edges if source == node]

    def _nodes(self) -> list[LineageNode]:
        return sorted({self.feature, *(node for edge in self.edges for node in edge)})


def lineage_of(
    definition: FeatureMetadata, all_definitions: Iterable[FeatureMetadata], versions: Versions
) -> Lineage:
    """The part of the graph that leads to a definition or comes from it.

    Args:
        definition: the feature asked for.
        all_definitions: every version of every feature.
        versions: the same, by name.
    """
    edges = {edge for each in all_definitions for edge in _edges_to(each, versions)}
    sources: dict[LineageNode, list[LineageNode]] = {}
    results: dict[LineageNode, list[LineageNode]] = {}
    for source, result in edges:
        sources.setdefault(result, []).append(source)
        results.setdefault(source, []).append(result)
    start = LineageNode(full_name(definition))
    above = {start, *_reachable(start, lambda node: sources.get(node, []))}
    below = {start, *_reachable(start, lambda node: results.get(node, []))}
    kept = {(s, r) for s, r in edges if {s, r} <= above or {s, r} <= below}
    return Lineage(start, tuple(sorted(kept)))


def _edges_to(definition: FeatureMetadata, versions: Versions) -> Iterable[tuple[LineageNode, LineageNode]]:
    result = LineageNode(full_name(definition))
    for text in definition.dependencies:
        dependency = stored_dependency(text)
        found = resolve(dependency, versions)
        if found is not None:
            yield LineageNode(full_name(found)), result
        else:
            yield LineageNode(str(dependency), "raw" if dependency.is_raw else "missing"), result


def _reachable(
    start: LineageNode, neighbours: Callable[[LineageNode], Iterable[LineageNode]]
) -> tuple[LineageNode, ...]:
    found: set[LineageNode] = set()
    waiting = [start]
    while waiting:
        new = set(neighbours(waiting.pop())) - found
        found |= new
        waiting += new
    return tuple(sorted(found))


def _branches(start: LineageNode, neighbours: Callable[[LineageNode], list[LineageNode]]) -> list[str]:
    """One line a node, indented; what a node leads to is shown where the node comes first."""
    lines: list[str] = []
    shown: set[LineageNode] = set()
    waiting = [(each, 2) for each in reversed(neighbours(start))]
    while waiting:
        node, depth = waiting.pop()
        further = neighbours(node)
        note = " (not registered)" if node.kind == "missing" else ""
        if node in shown and further:
            note = " (see above)"
        elif node not in shown:
            waiting += [(each, depth + 1) for each in reversed(further)]
        shown.add(node)
        lines.append(f"{'  ' * depth}{node.name}{note}")
    return lines


def _wrapped(shape: str, text: str) -> str:
    before, _, after = shape.partition("{}")
    return f"{before}{text}{after}"
