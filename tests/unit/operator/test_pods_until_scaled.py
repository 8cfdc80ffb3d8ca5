"""A version that an autoscaler scales begins with enough pods, and keeps those that it has."""

from typing import Any

import pytest

from mlinfra.resources.serving import Autoscaling
from mlinfra_operator.serving.autoscaling import leading, pods_until_scaled
from mlinfra_operator.serving.observed import Deployment, Observed, Service

BOUNDS = Autoscaling(min_replicas=2, max_replicas=5)


def deployment(desired: int) -> Deployment:
    return Deployment("m-1", "uid", "1", "owner", "hash", desired=desired)


def stored(replicas: int, *owners: tuple[str, str]) -> dict[str, Any]:
    fields = [
        {"manager": manager, "operation": operation, "fieldsV1": {"f:spec": {"f:replicas": {}}}}
        for manager, operation in owners
    ]
    other = {"manager": "mlinfra-operator", "operation": "Apply", "fieldsV1": {"f:spec": {"f:template": {}}}}
    return {"metadata": {"managedFields": [other, *fields]}, "spec": {"replicas": replicas}}


OURS, SCALERS = ("mlinfra-operator", "Apply"), ("kube-controller-manager", "Update")


@pytest.mark.parametrize(("before", "pods"), [(None, 2), (1, 2), (3, 3), (9, 5)])
def test_it_begins_with_as_many_as_the_version_before_within_its_bounds(
    before: int | None, pods: int
) -> None:
    lead = deployment(before) if before is not None else None
    assert pods_until_scaled(BOUNDS, None, lead) == pods


@pytest.mark.parametrize(
    ("found", "before", "pods"),
    [
        (stored(4, OURS), None, 4),
        (stored(1, OURS), None, 2),
        # A canary that takes over.
        (stored(1, OURS), deployment(4), 4),
        (stored(4, SCALERS), deployment(1), None),
        (stored(4), None, None),
    ],
)
def test_what_it_has_is_applied_until_the_autoscaler_has_set_a_number(
    found: dict[str, Any], before: Deployment | None, pods: int | None
) -> None:
    assert pods_until_scaled(BOUNDS, found, before) == pods


def test_the_version_before_is_the_one_that_the_stages_service_leads_to() -> None:
    others = {"1": deployment(3)}
    observed = Observed(others=others, services={"Production": Service("m", version="1")})
    assert leading("Production", observed) == others["1"]
    assert leading("Staging", observed) is None
    assert leading(None, Observed()) is None
