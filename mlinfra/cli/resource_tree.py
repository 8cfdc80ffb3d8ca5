"""Which object came from which: policy, trainings, Jobs and pods, versions and what serves them. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mlinfra.cli.object_summary import Object, Summary, age_of, summary_of
from mlinfra.resources.names import RETRAINING_POLICY_LABEL

ROOT_KINDS = ("RetrainingPolicy", "TrainingJob", "ModelVersion")
HEADINGS = ("name", "phase", "ready", "age", "reason")
ORDER = (
    "TrainingJob",
    "Job",
    "Service",
    "ModelVersion",
    "Deployment",
    "HorizontalPodAutoscaler",
    "ReplicaSet",
    "Pod",
)


@dataclass(frozen=True, slots=True)
class Node:
    """An object and what came from it, the oldest first within a kind."""

    kind: str
    name: str
    created: str
    summary: Summary
    children: tuple["Node", ...] = ()


def trees_of(objects: Iterable[Object]) -> list[Node]:
    """The trees of all objects of one namespace; a root is one of our resources that came from no other.

    Objects come from their owners, a TrainingJob also from the policy that its label names, and a
    ModelVersion from the TrainingJob that it names, or from its policy where that is gone. What
    belongs to none of our resources is left out.
    """
    by_uid = {obj["metadata"]["uid"]: obj for obj in objects}
    parents = _parents(by_uid)
    children: dict[str, list[Object]] = {}
    for uid, above in parents.items():
        for parent in above:
            children.setdefault(parent, []).append(by_uid[uid])
    roots = [obj for uid, obj in by_uid.items() if obj["kind"] in ROOT_KINDS and not parents[uid]]
    return [_node(root, children) for root in sorted(roots, key=lambda obj: _order(obj, ROOT_KINDS))]


def subtrees(trees: Iterable[Node], kinds: Sequence[str], name: str) -> list[Node]:
    """The parts of the trees that begin with an object of a name and one of the kinds."""
    found: dict[str, Node] = {}
    for node in _walk(trees):
        if node.kind in kinds and node.name == name:
            found.setdefault(node.kind, node)
    return list(found.values())


def rows(trees: Iterable[Node], now: datetime) -> list[tuple[str, str, str, str, str]]:
    """A row for each object under `HEADINGS`, drawn as a tree in the first column."""
    return [
        (
            f"{lines}{node.kind}/{node.name}",
            summary.phase,
            summary.ready,
            age_of(node.created, now),
            summary.why,
        )
        for root in trees
        for lines, node in _drawn(root, "", "")
        for summary in (node.summary,)
    ]


def as_json(node: Node) -> dict[str, Any]:
    """A tree as nested objects."""
    summary = node.summary
    return {
        "kind": node.kind,
        "name": node.name,
        "phase": summary.phase,
        "ready": summary.ready,
        "reason": summary.reason,
        "message": summary.message,
        "created": node.created,
        "children": [as_json(child) for child in node.children],
    }


def _parents(by_uid: Mapping[str, Object]) -> dict[str, list[str]]:
    """UIDs of what each object came from; only of what exists."""
    named = {(obj["kind"], obj["metadata"]["name"]): uid for uid, obj in by_uid.items()}
    produced = {
        reference["name"]: uid
        for uid, obj in by_uid.items()
        if obj["kind"] == "TrainingJob"
        and (reference := (obj.get("status") or {}).get("modelVersionRef")) is not None
    }
    found = {}
    for uid, obj in by_uid.items():
        owners = [owner["uid"] for owner in obj["metadata"].get("ownerReferences") or ()]
        above = [owner for owner in owners if owner in by_uid]
        found[uid] = above or [parent for parent in _origins(obj, named, produced) if parent is not None][:1]
    return found


def _origins(
    obj: Object, named: Mapping[tuple[str, str], str], produced: Mapping[str, str]
) -> list[str | None]:
    """What an object without an owner came from, the nearest first."""
    if obj["kind"] == "TrainingJob":
        labels = obj["metadata"].get("labels") or {}
        return [named.get(("RetrainingPolicy", labels.get(RETRAINING_POLICY_LABEL, "")))]
    if obj["kind"] == "ModelVersion":
        source = obj["spec"].get("source") or {}
        return [
            named.get(("TrainingJob", source.get("trainingJob") or "")),
            produced.get(obj["metadata"]["name"]),
            named.get(("RetrainingPolicy", source.get("retrainingPolicy") or "")),
        ]
    return []


def _node(obj: Object, children: Mapping[str, Sequence[Object]]) -> Node:
    metadata = obj["metadata"]
    below = [child for child in children.get(metadata["uid"], ()) if not _is_past(child)]
    return Node(
        kind=obj["kind"],
        name=metadata["name"],
        created=metadata["creationTimestamp"],
        summary=summary_of(obj),
        children=tuple(_node(child, children) for child in sorted(below, key=lambda obj: _order(obj, ORDER))),
    )


def _is_past(obj: Object) -> bool:
    """Whether it is a Deployment's ReplicaSet of former pods."""
    return obj["kind"] == "ReplicaSet" and (obj.get("spec") or {}).get("replicas") == 0


def _order(obj: Object, kinds: Sequence[str]) -> tuple[int, str, str]:
    place = kinds.index(obj["kind"]) if obj["kind"] in kinds else len(kinds)
    return place, obj["metadata"]["creationTimestamp"], obj["metadata"]["name"]


def _walk(trees: Iterable[Node]) -> Iterator[Node]:
    for node in trees:
        yield node
        yield from _walk(node.children)


def _drawn(node: Node, first: str, further: str) -> Iterator[tuple[str, Node]]:
    yield first, node
    for child in node.children:
        last = child is node.children[-1]
        lines = ("└─", "  ") if last else ("├─", "│ ")
        yield from _drawn(child, further + lines[0], further + lines[1])
