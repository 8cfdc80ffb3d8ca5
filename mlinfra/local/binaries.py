"""The control plane's programs: from a given folder, the cache, the official download, or a build.

Sources are tried in this order for each program: ``KUBEBUILDER_ASSETS``, the cache folder, the official
release download checked by its SHA-256, and ``go build`` from the pinned modules in ``tools/``. kwok, which
only tests and benchmarks use, has no download with a checksum: it is built.
"""

import asyncio
import hashlib
import os
import platform
import shutil
import signal
import tarfile
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from mlinfra.errors import MlinfraError
from mlinfra.local.locks import LockedError, exclusive_lock

KUBERNETES_VERSION = "v1.36.3"
ETCD_VERSION = "v3.6.16"
KUBERNETES_PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
PROGRAMS = ("etcd", *KUBERNETES_PROGRAMS)
KWOK = "kwok"
KWOK_VERSION = "v0.8.0"
VERSIONS = {"etcd": ETCD_VERSION, KWOK: KWOK_VERSION}
"""Of what is not Kubernetes itself."""

KUBERNETES_RELEASES = "https://dl.k8s.io/release"
ETCD_RELEASES = "https://github.com/etcd-io/etcd/releases/download"
CONNECT_SECONDS = 5.0
READ_SECONDS = 60.0

TOOLS = Path(__file__).parents[2] / "tools"

Report = Callable[[str], None]
"""Told what is done now, for a person who waits."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where programs may come from.

    Attributes:
        assets: a folder that the user gave, looked at first.
        cache: where downloaded and built programs are kept.
        kubernetes_releases: address of the Kubernetes releases, or of a mirror.
        etcd_releases: address of the etcd releases, or of a mirror.
        tools: folder of the pinned Go modules.
    """

    assets: Path | None
    cache: Path
    kubernetes_releases: str = KUBERNETES_RELEASES
    etcd_releases: str = ETCD_RELEASES
    tools: Path = TOOLS

    @classmethod
    def of(cls, environ: Mapping[str, str] = os.environ) -> "Sources":
        """From the environment; every variable has a default."""
        base = environ.get("XDG_CACHE_HOME")
        cache = (
            environ.get("MLINFRA_CACHE_DIR") or (Path(base) if base else Path.home() / ".cache") / "mlinfra"
        )
        assets = environ.get("KUBEBUILDER_ASSETS")
        return cls(
            assets=Path(assets) if assets else None,
            cache=Path(cache).expanduser().absolute(),
            kubernetes_releases=environ.get("MLINFRA_KUBERNETES_RELEASES", KUBERNETES_RELEASES),
            etcd_releases=environ.get("MLINFRA_ETCD_RELEASES", ETCD_RELEASES),
        )

    def cached(self, program: str) -> Path:
        """Where the cache keeps a program, by its version."""
        return self.cache / "bin" / VERSIONS.get(program, KUBERNETES_VERSION) / program

    def present(self, program: str) -> Path | None:
        """The program in the given folder or the cache, or None."""
        given = self.assets / program if self.assets else None
        return next((path for path in (given, self.cached(program)) if path and path.is_file()), None)


async def find_or_make(
    sources: Sources, report: Report, programs: Sequence[str] = PROGRAMS
) -> dict[str, Path]:
    """Every program's path; what is missing is downloaded or built into the cache.

    Raises:
        MlinfraError: a download has a wrong checksum, or a program can neither be downloaded nor built.
    """
    if missing := [program for program in programs if sources.present(program) is None]:
        await _with_cache_lock(sources, report, missing)
    found = {program: sources.present(program) for program in programs}
    return {program: path for program, path in found.items() if path is not None}


async def _with_cache_lock(sources: Sources, report: Report, missing: list[str]) -> None:
    waited = False
    while True:
        try:
            with exclusive_lock(
                sources.cache / "bin.lock", command="making programs", what="the programs' cache"
            ):
                await _make(sources, report, [name for name in missing if sources.present(name) is None])
                return
        except LockedError as error:
            if not waited:
                report(f"waiting: {error}")
            waited = True
            await asyncio.sleep(0.5)


async def _make(sources: Sources, report: Report, missing: list[str]) -> None:
    unreachable = ""
    for program in missing:
        target = sources.cached(program)
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{program}-") as folder:
            made = Path(folder) / program
            why_built = "it is only built" if program == KWOK else unreachable
            if not why_built:
                report(f"downloading {program} {target.parent.name}")
                try:
                    await _download(sources, program, made)
                except _NotToBeHadError as error:
                    why_built = unreachable = str(error)
            if why_built:
                report(f"building {program} {target.parent.name} (minutes, once a machine): {why_built}")
                await _build(sources, program, made)
            made.chmod(0o755)
            made.replace(target)


class _NotToBeHadError(Exception):
    """The release server cannot be reached or does not have the file: another source may."""


async def _download(sources: Sources, program: str, target: Path) -> None:
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    timeout = httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
    async with httpx.AsyncClient(timeout=timeout, follow_redirects=True) as http:
        if program != "etcd":
            url = f"{sources.kubernetes_releases}/{KUBERNETES_VERSION}/bin/linux/{architecture}/{program}"
            expected = (await _text(http, f"{url}.sha256")).split()[0]
            await _checked(http, url, expected, target)
            return
        name = f"etcd-{ETCD_VERSION}-linux-{architecture}"
        base = f"{sources.etcd_releases}/{ETCD_VERSION}"
        expected = _sum_of(await _text(http, f"{base}/SHA256SUMS"), f"{name}.tar.gz", base)
        archive = target.with_suffix(".tar.gz")
        await _checked(http, f"{base}/{name}.tar.gz", expected, archive)
        _extract(archive, f"{name}/etcd", target)


async def _text(http: httpx.AsyncClient, url: str) -> str:
    try:
        answer = await http.get(url)
        answer.raise_for_status()
    except httpx.HTTPError as error:
        raise _NotToBeHadError(f"{url}: {error or type(error).__name__}") from error
    return answer.text


async def _checked(http: httpx.AsyncClient, url: str, expected: str, target: Path) -> None:
    digest = hashlib.sha256()
    try:
        async with http.stream("GET", url) as answer:
            answer.raise_for_status()
            with target.open("wb") as file:
                async for chunk in answer.aiter_bytes():
                    digest.update(chunk)
                    file.write(chunk)
    except httpx.HTTPError as error:
        raise _NotToBeHadError(f"{url}: {error or type(error).__name__}") from error
    if digest.hexdigest() != expected:
        raise MlinfraError(
            f"{url} has the SHA-256 {digest.hexdigest()}, its release says {expected}: the download was "
            "refused and nothing installed; try again, and mind who stands between you and the server"
        )


def _sum_of(sums: str, name: str, base: str) -> str:
    for line in sums.splitlines():
        digest, _, listed = line.partition("  ")
        if listed.strip() == name:
            return digest
    raise _NotToBeHadError(f"{base}/SHA256SUMS does not list {name}")


def _extract(archive: Path, member: str, target: Path) -> None:
    with tarfile.open(archive) as tar:
        source = tar.extractfile(member)
        if source is None:
            raise MlinfraError(f"{archive.name} does not hold {member}")
        with target.open("wb") as file:
            shutil.copyfileobj(source, file)


async def _build(sources: Sources, program: str, target: Path) -> None:
    if shutil.which("go") is None:
        raise MlinfraError(
            f"{program} can neither be downloaded nor built: no Go toolchain is on the PATH; install Go 1.26 "
            "or newer, or give a folder with the programs in KUBEBUILDER_ASSETS"
        )
    module = sources.tools / (program if program in VERSIONS else "controlplane")
    if not (module / "go.mod").is_file():
        raise MlinfraError(
            f"{program} cannot be built: {module} is not there; work in a clone of the repository, or give "
            "a folder with the programs in KUBEBUILDER_ASSETS"
        )
    log = target.parent.parent / f"build-{program}.log"
    with log.open("wb") as output:
        # A session of its own, so that an interrupt here ends the compilers too.
        build = await asyncio.create_subprocess_exec(
            *go_build(program, target),
            cwd=module,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = await build.wait()
        except asyncio.CancelledError:
            os.killpg(build.pid, signal.SIGKILL)
            await build.wait()
            raise
    if status != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-10:])
        raise MlinfraError(f"building {program} failed; see {log}:\n{tail}")


def go_build(program: str, target: Path) -> list[str]:
    """The command that builds a program from the pinned module it is run in."""
    flags = ["-s", "-w"]
    if program == "etcd":
        package = "go.etcd.io/etcd/server/v3"
    elif program == KWOK:
        package = "sigs.k8s.io/kwok/cmd/kwok"
    else:
        package = f"k8s.io/kubernetes/cmd/{program}"
        major, minor, _ = KUBERNETES_VERSION.removeprefix("v").split(".")
        stamped = {"gitVersion": KUBERNETES_VERSION, "gitMajor": major, "gitMinor": minor}
        flags += [f"-X k8s.io/component-base/version.{name}={value}" for name, value in stamped.items()]
    command = ["go", "build", "-mod=readonly", "-trimpath", "-ldflags", " ".join(flags)]
    return [*command, "-o", str(target), package]
