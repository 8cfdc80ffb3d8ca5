"""Which stage a model version has, and what it takes to import that."""

import subprocess
import sys

import pytest

from mlinfra.resources.promotion import Stage
from mlinfra.tracking.stages import effective_stage


@pytest.mark.parametrize(
    ("aliases", "current_stage", "expected"),
    [
        ([], None, "None"),
        ([], "None", "None"),
        ([], "Archived", "Archived"),
        (["favourite"], "Staging", "Staging"),
        (["staging"], "None", "Staging"),
        (["staging", "production"], "Archived", "Production"),
        ([], "Deleted_Internal", "None"),
    ],
)
def test_an_alias_beats_the_stage(aliases: list[str], current_stage: str | None, expected: Stage) -> None:
    assert effective_stage(aliases, current_stage) == expected


def test_importing_stages_loads_no_heavy_library() -> None:
    heavy = ["torch", "pandas", "numpy", "matplotlib", "mlflow"]
    code = f"import sys, mlinfra.tracking.stages; print([name for name in {heavy!r} if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
