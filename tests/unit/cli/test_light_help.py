"""Help loads no library that only a command needs: that is what keeps it instant."""

import subprocess
import sys

import pytest

HEAVY = ("aiohttp", "asyncio", "cryptography", "httpx", "numpy", "pandas", "pyarrow", "yaml")
COMMANDS = (
    (),
    ("datasets",),
    ("drift", "multivariate"),
    ("drift", "report"),
    ("features",),
    ("logs",),
    ("train",),
    ("tree",),
    ("up",),
    ("watch",),
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_loads_nothing_heavy(command: tuple[str, ...]) -> None:
    code = (
        "import atexit, sys\n"
        f"sys.argv = ['mlinfra', *{command!r}, '--help']\n"
        f"atexit.register(lambda: print('heavy:', [name for name in {HEAVY!r} if name in sys.modules]))\n"
        "from mlinfra.cli.main import app; app()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Usage: mlinfra" in done.stdout
    assert "heavy: []" in done.stdout


def test_the_package_loads_nothing_of_its_own() -> None:
    code = "import sys, mlinfra; print([name for name in sys.modules if name.startswith('mlinfra.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
