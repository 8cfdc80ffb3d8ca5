"""The Dockerfiles: what they copy exists, what they install is pinned, and nothing runs as root."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from shutil import copy, copytree

import pytest

REPOSITORY = Path(__file__).parents[3]
DOCKERFILES = ("operator/Dockerfile", "server_image/Dockerfile", "trainer_image/Dockerfile")
UNNEEDED = ("**/__pycache__", "**/*.pyc", "**/Dockerfile")


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction of a Dockerfile, with its continued lines joined."""

    name: str
    text: str


def instructions(dockerfile: str) -> list[Instruction]:
    text = (REPOSITORY / dockerfile).read_text()
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [Instruction(*line.split(maxsplit=1)) for line in joined.splitlines()]


def copies(dockerfile: str) -> Iterator[tuple[list[str], str]]:
    """Sources in the build context, and the destination; arguments stand for their defaults."""
    found = instructions(dockerfile)
    defaults = dict(item.text.split("=", 1) for item in found if item.name == "ARG")
    for item in found:
        if item.name == "COPY" and not item.text.startswith("--from"):
            words = re.sub(r"\$\{(\w+)\}", lambda match: defaults[match[1]], item.text).split()
            yield words[:-1], words[-1]


def last(dockerfile: str, name: str) -> str | None:
    return next((item.text for item in reversed(instructions(dockerfile)) if item.name == name), None)


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_what_is_copied_exists_and_is_in_the_build_context(dockerfile: str) -> None:
    ignored = (REPOSITORY / ".dockerignore").read_text().splitlines()
    allowed = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    sources = [source for found, _ in copies(dockerfile) for source in found]
    assert sources
    for source in sources:
        assert (REPOSITORY / source).exists(), source
        assert source.split("/")[0] in allowed, f"{source} is not in the build context"


def test_the_build_context_holds_nothing_that_is_not_named() -> None:
    lines = [line for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line[:1] != "#"]
    assert lines[0] == "*"
    assert lines[-len(UNNEEDED) :] == list(UNNEEDED)
    assert all(line.startswith("!") for line in lines[1 : -len(UNNEEDED)])


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_what_is_installed_is_pinned_by_hash(dockerfile: str) -> None:
    installs = [item.text for item in instructions(dockerfile) if "pip" in item.text and item.name == "RUN"]
    assert installs
    for command in installs:
        fetches = "--no-index" not in command
        assert not fetches or {"--require-hashes", "--no-deps", "--only-binary"} <= set(command.split())
    locks = [source for found, _ in copies(dockerfile) for source in found if source.endswith(".txt")]
    assert len(locks) == 1
    entries = re.split(r"\n(?=[a-z0-9])", (REPOSITORY / locks[0]).read_text())
    pinned = [entry for entry in entries if "==" in entry.splitlines()[0]]
    assert len(pinned) > 30
    assert all("--hash=sha256:" in entry for entry in pinned)


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_the_image_runs_as_a_user_that_a_kubelet_can_see_is_not_root(dockerfile: str) -> None:
    user = last(dockerfile, "USER")
    assert user is not None
    assert re.fullmatch(r"[1-9][0-9]*:[1-9][0-9]*", user)


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_no_shell_stands_between_a_signal_and_the_process(dockerfile: str) -> None:
    started = last(dockerfile, "ENTRYPOINT") or last(dockerfile, "CMD")
    assert started is not None
    assert json.loads(started)[:2] == ["python", "-m"]


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_base_images_have_a_version(dockerfile: str) -> None:
    bases = [item.text for item in instructions(dockerfile) if item.name == "FROM"]
    assert bases == ["${PYTHON_IMAGE} AS build", "${PYTHON_IMAGE}"]
    defaults = [item.text for item in instructions(dockerfile) if item.text.startswith("PYTHON_IMAGE=")]
    assert fnmatch(defaults[0], "PYTHON_IMAGE=python:3.*-slim-*")


IMPORT_ALL = """
import importlib, pkgutil, sys
from importlib.metadata import packages_distributions
name = sys.argv[1]
package = importlib.import_module(name)
for found in pkgutil.walk_packages(package.__path__, f"{name}."):
    if not found.name.endswith("__main__"):
        importlib.import_module(found.name)
importlib.import_module(f"{name}.__main__")
provided = packages_distributions()
loaded = {name.partition(".")[0] for name in sys.modules}
print(*sorted(set().union(*(provided[name] for name in loaded if name in provided))))
"""


def imported_in_image(dockerfile: str, package: str, tmp_path: Path) -> set[str]:
    """The libraries that all of a package imports, with nothing of the repository but what was copied."""
    for sources, destination in copies(dockerfile):
        target = tmp_path / destination.lstrip("/")
        for source in sources:
            if (REPOSITORY / source).is_dir():
                copytree(REPOSITORY / source, target)
            else:
                placed = target / Path(source).name if destination.endswith("/") else target
                placed.parent.mkdir(parents=True, exist_ok=True)
                copy(REPOSITORY / source, placed)
    libraries = next(path for path in sys.path if path.endswith("site-packages"))
    # Without the site module and this folder nothing of the repository is found but what was copied.
    result = subprocess.run(
        [sys.executable, "-S", "-P", "-c", IMPORT_ALL, package],
        env={"PYTHONPATH": f"{tmp_path / 'app'}:{libraries}", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    # HTTP clients take Brotli where it happens to be installed, as it is here.
    return {re.sub(r"[-_.]+", "-", name).lower() for name in result.stdout.split()} - {"mlinfra", "brotli"}


def test_the_operators_image_holds_all_that_the_operator_imports(tmp_path: Path) -> None:
    used = imported_in_image("operator/Dockerfile", "mlinfra_operator", tmp_path)
    lock = (REPOSITORY / "requirements/operator.txt").read_text()
    pinned = set(re.findall(r"^([a-z0-9.-]+)==", lock, flags=re.MULTILINE))
    assert {"kopf", "httpx", "pydantic"} <= used <= pinned


def test_the_servers_image_holds_the_modules_that_the_server_imports(tmp_path: Path) -> None:
    assert "uvicorn" in imported_in_image("server_image/Dockerfile", "mlinfra.serving", tmp_path)
