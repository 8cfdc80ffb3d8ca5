"""A whole platform of its own for these tests, driven as a person drives it: by the command line."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

T = TypeVar("T")

BIN = Path(sys.executable).parent
REPOSITORY = Path(__file__).parents[2]
EXAMPLE = REPOSITORY / "examples" / "trainingjob.yaml"


@dataclass(frozen=True)
class Platform:
    """The commands of one private platform."""

    state: Path

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {"MLINFRA_STATE_DIR": str(self.state), "NO_COLOR": "1", "COLUMNS": "200"}

    def mlinfra(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self._run([str(BIN / "mlinfra"), *arguments], check=check)

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        command = [str(BIN / "mlinfra"), "kubectl", "--", *arguments]
        return self._run(command, stdin=stdin, check=check).stdout

    def refused(self, *arguments: str, stdin: str | None = None) -> str:
        """What kubectl prints when the API server refuses."""
        command = [str(BIN / "mlinfra"), "kubectl", "--", *arguments]
        result = self._run(command, stdin=stdin, check=False)
        assert result.returncode != 0, f"kubectl {arguments} was not refused: {result.stdout}"
        return result.stderr

    def get(self, *arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "-o", "json"))
        return found

    def apply(self, manifest: dict[str, Any]) -> None:
        self.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))

    def _run(
        self, command: list[str], *, check: bool, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            command, env=self.environment, cwd=REPOSITORY, input=stdin, capture_output=True, text=True
        )
        if check and result.returncode != 0:
            pytest.fail(f"{' '.join(command)}: exit {result.returncode}\n{result.stdout}{result.stderr}")
        return result


def eventually(observe: Callable[[], T | None], *, seconds: float = 120, what: str) -> T:
    """The first observation that is not None, or a failure that says what never came."""
    deadline = time.monotonic() + seconds
    while True:
        observed = observe()
        if observed is not None:
            return observed
        if time.monotonic() > deadline:
            pytest.fail(f"within {seconds:.0f} s there was no {what}")
        time.sleep(0.25)


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    platform = Platform(tmp_path_factory.mktemp("state"))
    platform.mlinfra("up")
    yield platform
    platform.mlinfra("down")
