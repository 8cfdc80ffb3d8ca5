"""Which object came from which, drawn and as JSON."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mlinfra.cli.resource_tree import ROOT_KINDS, Node, as_json, rows, subtrees, trees_of
from mlinfra.resources.names import RETRAINING_POLICY_LABEL

Object = dict[str, Any]
NOW = datetime(2026, 3, 1, 0, 10, tzinfo=UTC)


def obj(kind: str, name: str, owner: Object | None = None, *, minute: int = 0, **fields: Any) -> Object:
    metadata: Object = {
        "name": name,
        "uid": f"{kind}-{name}",
        "creationTimestamp": f"2026-03-01T00:{minute:02}:00Z",
    }
    if owner is not None:
        metadata["ownerReferences"] = [{"uid": owner["metadata"]["uid"]}]
    return {
        "kind": kind,
        "metadata": metadata | fields.pop("metadata", {}),
        "spec": {},
        "status": {},
    } | fields


POLICY = obj("RetrainingPolicy", "nightly", status={"phase": "Training"})
TRAINING = obj("TrainingJob", "nightly-1", POLICY, status={"phase": "Running"})
JOB = obj("Job", "nightly-1", TRAINING, status={"active": 1})
FIRST = obj("Pod", "nightly-1-b", JOB, minute=1, spec={"containers": [{}]}, status={"phase": "Failed"})
SECOND = obj("Pod", "nightly-1-a", JOB, minute=2, spec={"containers": [{}]}, status={"phase": "Running"})
VERSION = obj(
    "ModelVersion", "m-1", spec={"source": {"trainingJob": "nightly-1", "retrainingPolicy": "nightly"}}
)
DEPLOYMENT = obj("Deployment", "m-1", VERSION)
SERVICE = obj("Service", "m-production", VERSION, spec={"type": "ClusterIP"})
OLD_REPLICAS = obj("ReplicaSet", "m-1-old", DEPLOYMENT, spec={"replicas": 0})
REPLICAS = obj("ReplicaSet", "m-1-new", DEPLOYMENT, spec={"replicas": 1})
FOREIGN = obj("Pod", "somebody-elses")
ALL = [
    FOREIGN, SECOND, FIRST, JOB, TRAINING, POLICY, SERVICE, DEPLOYMENT, VERSION, OLD_REPLICAS, REPLICAS
]  # fmt: skip


def test_a_policy_down_to_pods_and_what_serves_the_version() -> None:
    drawn = [row[0] for row in rows(trees_of(ALL), NOW)]
    assert drawn == [
        "RetrainingPolicy/nightly",
        "└─TrainingJob/nightly-1",
        "  ├─Job/nightly-1",
        "  │ ├─Pod/nightly-1-b",
        "  │ └─Pod/nightly-1-a",
        "  └─ModelVersion/m-1",
        "    ├─Service/m-production",
        "    └─Deployment/m-1",
        "      └─ReplicaSet/m-1-new",
    ]


def test_rows_tell_phase_ready_and_age() -> None:
    found = {row[0].lstrip("│├└─ "): row[1:] for row in rows(trees_of(ALL), NOW)}
    assert found["TrainingJob/nightly-1"] == ("Running", "", "10m", "")
    assert found["Pod/nightly-1-a"] == ("Running", "0/1", "8m", "")


def test_a_version_goes_with_its_policy_where_the_training_is_gone() -> None:
    [tree] = trees_of([POLICY, VERSION])
    assert [child.name for child in tree.children] == ["m-1"]


def test_what_came_from_nothing_that_exists_is_a_root() -> None:
    names = [(tree.kind, tree.name) for tree in trees_of([VERSION, TRAINING, FOREIGN, JOB])]
    assert names == [("TrainingJob", "nightly-1")]
    assert [tree.name for tree in trees_of([VERSION])] == ["m-1"]


def test_a_training_of_a_policy_by_its_label_and_a_version_by_the_reference() -> None:
    labelled = obj(
        "TrainingJob",
        "by-label",
        metadata={"labels": {RETRAINING_POLICY_LABEL: "nightly"}},
        status={"modelVersionRef": {"name": "v"}},
    )
    [tree] = trees_of([POLICY, labelled, obj("ModelVersion", "v")])
    assert [tree.children[0].name, tree.children[0].children[0].name] == ["by-label", "v"]


def test_subtrees_by_kind_and_name() -> None:
    trees = trees_of(ALL)
    assert [node.kind for node in subtrees(trees, ROOT_KINDS, "nightly-1")] == ["TrainingJob"]
    assert [node.kind for node in subtrees(trees, ["ModelVersion"], "m-1")] == ["ModelVersion"]
    assert subtrees(trees, ["TrainingJob"], "m-1") == []
    same = [obj("RetrainingPolicy", "m"), obj("TrainingJob", "m")]
    assert {node.kind for node in subtrees(trees_of(same), ROOT_KINDS, "m")} == {
        "RetrainingPolicy",
        "TrainingJob",
    }


def test_json_nests() -> None:
    [tree] = trees_of([POLICY, TRAINING])
    assert as_json(tree) == {
        "kind": "RetrainingPolicy", "name": "nightly", "phase": "Training", "ready": "", "reason": "",
        "message": "", "created": "2026-03-01T00:00:00Z",
        "children": [
            {
                "kind": "TrainingJob", "name": "nightly-1", "phase": "Running", "ready": "", "reason": "",
                "message": "", "created": "2026-03-01T00:00:00Z", "children": [],
            }
        ],
    }  # fmt: skip


def nodes(trees: list[Node]) -> Iterator[tuple[str, str]]:
    for tree in trees:
        yield tree.kind, tree.name
        yield from nodes(list(tree.children))


@given(st.sets(st.sampled_from(range(len(ALL)))), st.randoms())
def test_each_of_our_resources_is_in_the_trees_once_whatever_is_missing(there: set[int], random: Any) -> None:
    objects = [ALL[index] for index in there]
    random.shuffle(objects)
    found = list(nodes(trees_of(objects)))
    assert len(found) == len(set(found))
    assert {each for each in found if each[0] in ROOT_KINDS} == {
        (each["kind"], each["metadata"]["name"]) for each in objects if each["kind"] in ROOT_KINDS
    }
    assert ("Pod", "somebody-elses") not in found
