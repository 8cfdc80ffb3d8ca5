"""The operator's own environment: what its image holds, and no more.

MLflow's client imports whatever of numpy, pandas, scipy and pyarrow is there, so an operator that is run with
the trainer's packages beside it would be measured with a hundred MiB that it does not have in a cluster.
"""

import asyncio
import sys
import venv
from pathlib import Path

from mlinfra.errors import MlinfraError

REPOSITORY = Path(__file__).parents[2]
LOCK = REPOSITORY / "requirements" / "operator.txt"
SOURCES = (REPOSITORY, REPOSITORY / "operator")


async def operator_environment(folder: Path) -> Path:
    """Make a virtual environment from the operator's lock file; its interpreter.

    Raises:
        MlinfraError: the packages cannot be installed.
    """
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    uv = Path(sys.executable).with_name("uv")
    command = ["pip", "sync", "--quiet", "--python", str(python), "--require-hashes", str(LOCK)]
    install = await asyncio.create_subprocess_exec(str(uv), *command, stderr=asyncio.subprocess.PIPE)
    _, errors = await install.communicate()
    if install.returncode != 0:
        raise MlinfraError(f"installing {LOCK} failed:\n{errors.decode(errors='replace')}")
    packages = next((folder / "lib").glob("python*/site-packages"))
    (packages / "mlinfra.pth").write_text("".join(f"{source}\n" for source in SOURCES))
    return python
