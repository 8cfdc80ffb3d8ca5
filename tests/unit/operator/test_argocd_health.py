"""What Argo CD shows of each resource, by argocd/health.lua on what the operator's plans write."""

from pathlib import Path
from typing import Any

import pytest
from lupa import lua51
from unit.operator.objects import NOW

from mlinfra_operator import conditions
from mlinfra_operator.conditions import Observation

SCRIPT = (Path(__file__).parents[3] / "argocd" / "health.lua").read_text()
# Argo CD opens these libraries only.
HARMLESS = {"ipairs", "pairs", "string", "table", "math", "type", "tostring", "tonumber"}


def health(obj: dict[str, Any]) -> dict[str, str]:
    """What the script makes of an object."""
    lua = lua51.LuaRuntime(unpack_returned_tuples=True, register_eval=False)
    for name in list(lua.globals()):
        if name not in HARMLESS:
            lua.globals()[name] = None
    lua.globals().obj = lua.table_from(obj, recursive=True)
    return dict(lua.execute(SCRIPT))


def told(*observations: Observation, generation: int = 3, observed: int = 3) -> dict[str, Any]:
    merged = conditions.merge([], observations, generation=observed, now=NOW)
    return {
        "metadata": {"name": "a", "generation": generation},
        "status": {
            "conditions": [condition.to_wire() for condition in merged],
            "observedGeneration": observed,
        },
    }


@pytest.mark.parametrize(
    ("obj", "status", "message"),
    [
        ({"metadata": {"generation": 1}}, "Progressing", "Waiting for the operator"),
        ({"metadata": {"generation": 1}, "status": {}}, "Progressing", "Waiting for the operator"),
        (told(*conditions.reconciling("Training", "epoch 3")), "Progressing", "epoch 3"),
        (told(*conditions.reconciling("MLflowUnavailable")), "Progressing", "MLflowUnavailable"),
        (told(*conditions.ready("Promoted", "in Production")), "Healthy", "in Production"),
        (told(*conditions.ready("Superseded", "by model-2")), "Healthy", "by model-2"),
        (told(*conditions.ready("Suspended", "spec.suspend is true")), "Suspended", "spec.suspend is true"),
        (told(*conditions.ready("PendingManualApproval", "approve")), "Suspended", "approve"),
        (told(*conditions.stalled("GatesFailed", "accuracy 0.7")), "Degraded", "accuracy 0.7"),
        (
            told(*conditions.stalled("GatesFailed", "accuracy 0.7"), generation=4),
            "Progressing",
            "The operator has not seen the latest change yet",
        ),
    ],
)
def test_health_follows_the_conditions(obj: dict[str, Any], status: str, message: str) -> None:
    assert health(obj) == {"status": status, "message": message}


def test_what_is_deleted_is_in_progress_whatever_it_was() -> None:
    obj = told(*conditions.stalled("GatesFailed", "accuracy 0.7"))
    obj["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert health(obj) == {"status": "Progressing", "message": "Being deleted"}
