"""The server starts without what trains: its image has neither torch nor scikit-learn."""

import subprocess
import sys

MODULES = "mlinfra.serving.process, mlinfra.serving.batch_prediction, mlinfra.serving.batch_sources"
HEAVY = ("torch", "sklearn", "matplotlib", "arch", "onnxscript", "duckdb", "mlinfra.local")


def test_the_server_imports_nothing_of_the_trainers() -> None:
    script = f"import sys, {MODULES}; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert found.stdout.split() == []
