"""`mlinfra demo`, as `make demo` runs it: interrupted, alone, and twice at once."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.driver import BIN, REPOSITORY, Platform, eventually

from mlinfra.local import procfs


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    platform = Platform(tmp_path_factory.mktemp("demo"))
    try:
        yield platform
    finally:
        platform.mlinfra("down", "--delete")


def start_demo(platform: Platform, output: Path) -> "subprocess.Popen[bytes]":
    with output.open("wb") as file:
        return subprocess.Popen(
            [str(BIN / "mlinfra"), "demo"],
            env=platform.environment,
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def processes_of(folder: Path) -> list[str]:
    """Command lines of running processes that name a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and procfs.start_time(int(entry.name)) is not None:
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                # It ended while we looked.
                continue
            if str(folder) in command:
                found.append(command)
    return found


@pytest.mark.parametrize("until", ["control plane", "custom resources", "Running"])
def test_ctrl_c_leaves_no_process(fresh: Platform, tmp_path: Path, until: str) -> None:
    output = tmp_path / "demo.log"
    demo = start_demo(fresh, output)
    eventually(lambda: until in output.read_text() or None, seconds=90, what=f"{until!r} in the output")
    os.killpg(demo.pid, signal.SIGINT)
    assert demo.wait(60) == 130
    assert "Interrupted" in output.read_text()
    assert processes_of(fresh.state) == []


def test_the_demo_ends_with_a_version_in_production(fresh: Platform, tmp_path: Path) -> None:
    output = tmp_path / "demo.log"
    demo = start_demo(fresh, output)
    eventually(lambda: "control plane" in output.read_text() or None, seconds=30, what="first steps")
    second = fresh.run("demo")
    assert second.returncode == 1
    assert "another mlinfra process" in second.stderr

    assert demo.wait(240) == 0, output.read_text()
    text = output.read_text()
    assert "sp500-volatility-1  Production" in text
    assert "test accuracy" in text
    assert "on 2015-01-14/2018-12-21" in text
    assert f"MLflow: {fresh.mlflow_url}" in text
    assert "running" in fresh.mlinfra("status")


def test_a_failed_step_names_the_component_and_its_log(tmp_path: Path) -> None:
    platform = Platform(tmp_path / "state")
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl"):
        program = programs / name
        program.write_text(f"#!{sys.executable}\nraise SystemExit('cannot work today')\n")
        program.chmod(0o755)
    result = subprocess.run(
        [str(BIN / "mlinfra"), "up"],
        env={**platform.environment, "KUBEBUILDER_ASSETS": str(programs)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    assert "✗ control plane" in result.stdout
    assert "etcd ended before it was ready" in result.stderr
    assert "logs/etcd.log" in result.stderr
    assert "cannot work today" in result.stderr
    assert processes_of(platform.state) == []
