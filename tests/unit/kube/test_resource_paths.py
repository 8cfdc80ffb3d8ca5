"""Addresses of resources in the API."""

import pytest

from mlinfra.kube.resource import JOBS, NODES, PODS, TRAINING_JOBS, type_of


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        pytest.param(PODS.path(), "/api/v1/pods", id="core-all-namespaces"),
        pytest.param(PODS.path("ns", "p", "status"), "/api/v1/namespaces/ns/pods/p/status", id="subresource"),
        pytest.param(NODES.path(name="n"), "/api/v1/nodes/n", id="cluster-wide"),
        pytest.param(JOBS.path("ns"), "/apis/batch/v1/namespaces/ns/jobs", id="group"),
        pytest.param(
            PODS.path("ns", "../secrets/s"),
            "/api/v1/namespaces/ns/pods/..%2Fsecrets%2Fs",
            id="name-is-quoted",
        ),
    ],
)
def test_path(path: str, expected: str) -> None:
    assert path == expected


def test_one_object_of_a_namespaced_type_needs_its_namespace() -> None:
    with pytest.raises(ValueError, match="namespace is required"):
        PODS.path(None, "p")


def test_type_of_a_manifest() -> None:
    assert type_of({"apiVersion": "mlinfra.io/v1alpha1", "kind": "TrainingJob"}) is TRAINING_JOBS
    with pytest.raises(ValueError, match="v1/Gadget"):
        type_of({"apiVersion": "v1", "kind": "Gadget"})
