"""GPUs of all pods together, whatever the vendor calls them."""

from typing import Any

import pytest
from unit.operator.objects import NOW, child, run, training_job

from mlinfra_operator.trainingjob.gpus import gpus_of
from mlinfra_operator.trainingjob.observed import Observed
from mlinfra_operator.trainingjob.plan import plan


@pytest.mark.parametrize(
    ("limits", "nodes", "gpus"),
    [
        (None, 1, None),
        ({"cpu": "4"}, 2, None),
        ({"nvidia.com/gpu": "4"}, 2, 8),
        ({"nvidia.com/gpu": 1, "cpu": "8"}, 1, 1),
        ({"amd.com/gpu": "2"}, 3, 6),
        ({"nvidia.com/mig-1g.5gb": "3"}, 1, 3),
        ({"nvidia.com/gpu": "0"}, 1, None),
        ({"nvidia.com/gpu": "500m"}, 1, None),
        ({"example.com/gpu-memory": "16"}, 1, None),
    ],
)
def test_gpus_are_those_of_all_pods(limits: dict[str, Any] | None, nodes: int, gpus: int | None) -> None:
    spec = training_job(numNodes=nodes, resourcesPerNode={"limits": limits}).spec
    assert gpus_of(spec) == gpus


def test_the_status_tells_of_them() -> None:
    job = training_job(numNodes=2, resourcesPerNode={"limits": {"nvidia.com/gpu": "4"}})
    decided = plan(job, Observed(child=child(active=2, ready=2), run=run()), NOW)
    assert decided.status.to_wire()["gpus"] == 8
