"""Throw-away environments for the libraries that ours is measured against.

Their dependencies contradict ours, and none of them belongs to what mlinfra installs. An environment is
made once a machine, in the cache folder, and named after what it holds.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlinfra.local.binaries import Sources

TELEMETRY_OFF = {
    "DO_NOT_TRACK": "1",
    "FEAST_USAGE": "False",
    "FEAST_TELEMETRY": "False",
    "NML_DISABLE_USAGE_LOGGING": "1",
}
FEAST = ["feast[duckdb]==0.67.0"]
"""One environment for all that is measured against it."""
EVIDENTLY = ["evidently==0.7.23", "pandas==2.3.3"]
"""It cannot be imported beside pandas 3."""
MARKER = ".complete"


class RivalFailed(Exception):
    """The rival's environment could not be made, or its script failed; the message holds what it wrote."""


def rival_python(name: str, requirements: Sequence[str]) -> Path:
    """The interpreter of an environment that holds ``requirements``; made where it is absent.

    Args:
        name: begins the name of its folder.
        requirements: pinned packages, such as ``feast[duckdb]==0.67.0``.

    Raises:
        RivalFailed: a package cannot be installed.
    """
    digest = hashlib.sha256("\n".join(sorted(requirements)).encode()).hexdigest()[:12]
    folder = Sources.of().cache / "benchmarks" / f"{name}-{digest}"
    python = folder / "bin" / "python"
    if (folder / MARKER).exists():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    uv = str(Path(sys.executable).with_name("uv"))
    _checked([uv, "venv", "--quiet", "--python", sys.executable, str(folder)])
    _checked([uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python), *requirements])
    (folder / MARKER).touch()
    return python


def run_rival(
    python: Path, script: Path, arguments: Sequence[str] = (), *, environ: Mapping[str, str] | None = None
) -> Any:
    """Run a script in a rival's environment; what its last line of output says in JSON.

    Raises:
        RivalFailed: it failed.
    """
    done = _checked(
        [str(python), str(script), *arguments], environ={**os.environ, **TELEMETRY_OFF, **(environ or {})}
    )
    return json.loads(done.strip().splitlines()[-1])


def _checked(argv: Sequence[str], *, environ: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environ)
    if done.returncode != 0:
        raise RivalFailed(f"{' '.join(argv)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout
