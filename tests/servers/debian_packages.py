"""Programs of Debian packages without root: downloaded by apt, unpacked into the cache, once a machine."""

import hashlib
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from mlinfra.local.binaries import Sources
from mlinfra.local.locks import short_lock

MARKER = ".complete"


def unpacked(packages: Sequence[str]) -> Path:
    """The root folder of the packages' files; their dependencies are to be named too."""
    digest = hashlib.sha256(" ".join(sorted(packages)).encode()).hexdigest()[:12]
    folder = Sources.of().cache / "debian" / f"{packages[0]}-{digest}"
    with short_lock(folder.with_suffix(".lock")):
        if not (folder / MARKER).exists():
            shutil.rmtree(folder, ignore_errors=True)
            _unpack(packages, folder)
            (folder / MARKER).touch()
    return folder


def _unpack(packages: Sequence[str], folder: Path) -> None:
    downloads = folder / "downloads"
    downloads.mkdir(parents=True)
    if _apt(["download", *packages], downloads).returncode != 0:
        # A fresh machine has no lists of packages, and without root they are kept elsewhere.
        state = downloads / "state"
        (state / "lists" / "partial").mkdir(parents=True)
        private = ["-o", f"Dir::State::Lists={state / 'lists'}", "-o", f"Dir::Cache={state}"]
        for command in (["update"], ["download", *packages]):
            done = _apt([*private, *command], downloads)
            assert done.returncode == 0, f"apt-get {' '.join(command)} failed: {done.stdout}{done.stderr}"
    for archive in downloads.glob("*.deb"):
        subprocess.run(["dpkg", "-x", archive, folder], check=True)
    shutil.rmtree(downloads)


def _apt(arguments: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["apt-get", "-qq", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
