"""Getting a pod ready to start: its folders, the files in its volumes, and each container's launch."""

import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlinfra.kube import KubernetesClient
from mlinfra.local.files import make_private_folder, write_atomically
from mlinfra.local.node.container_process import Launch
from mlinfra.local.node.environment import Document, environment_of, expand
from mlinfra.local.node.hosts import AddressedPod, hostname_of
from mlinfra.local.node.path_mapping import map_paths
from mlinfra.local.node.pod_files import PodFiles
from mlinfra.local.node.pod_inputs import Token
from mlinfra.local.node.volumes import Mount, TokenFile, VolumeFile, mounts_of

PASSED_ON = ("LANG", "LC_ALL", "TZ", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "LD_LIBRARY_PATH", "CUDA_HOME")
"""Variables of this machine that a container image would carry; nothing else of the agent's is passed on."""
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is the same for every pod of a node.

    Attributes:
        api_host: host of the API server.
        api_port: port of the API server.
        isolated: whether pods run in mount namespaces.
    """

    api_host: str
    api_port: str
    isolated: bool


@dataclass(frozen=True, slots=True)
class NodeServices:
    """What a worker needs of its node."""

    client: KubernetesClient
    surroundings: Surroundings
    folder: Path
    pods: Callable[[], Sequence[AddressedPod]]
    """Address and pod of every pod of the node."""


def inherited_environment(files: PodFiles, pod: Document, surroundings: Surroundings) -> dict[str, str]:
    """What every container of a pod gets: little, and nothing secret of the agent's."""
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return environment | {
        # `python` in a pod is the interpreter of the environment that the agent runs in.
        "PATH": f"{Path(sys.executable).parent}:{SYSTEM_PATH}",
        "HOME": str(files.home),
        "TMPDIR": str(files.temporary),
        "HOSTNAME": hostname_of(pod),
        "KUBERNETES_SERVICE_HOST": surroundings.api_host,
        "KUBERNETES_SERVICE_PORT": surroundings.api_port,
        "KUBERNETES_SERVICE_PORT_HTTPS": surroundings.api_port,
    }


def make_folders(files: PodFiles, pod: Document) -> None:
    """Make the pod's scratch space and the folders of its volumes."""
    for folder in (files.folder, files.home, files.temporary):
        make_private_folder(folder)
    for volume in pod["spec"].get("volumes") or []:
        if "hostPath" not in volume:
            make_private_folder(files.volume(volume["name"]))
        elif volume["hostPath"].get("type") == "DirectoryOrCreate":
            Path(volume["hostPath"]["path"]).mkdir(parents=True, exist_ok=True)


def write_files(
    files: PodFiles, planned: Sequence[VolumeFile | TokenFile], tokens: Mapping[TokenFile, Token]
) -> None:
    """Write volume files and tokens, each whole or not at all."""
    for item in planned:
        path = files.volume(item.volume) / item.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(item, TokenFile):
            write_atomically(path, tokens[item].value.encode())
        else:
            write_atomically(path, item.content.encode(errors="surrogateescape"), mode=item.mode)


def launch_of(
    container: Document,
    *,
    pod: Document,
    files: PodFiles,
    data: Mapping[tuple[str, str], dict[str, str] | None],
    surroundings: Surroundings,
) -> Launch:
    """How a container's command is run on this machine.

    Raises:
        MissingReferenceError: a Secret or ConfigMap that is not optional does not exist.
    """
    mounts = mounts_of(container, pod["spec"].get("volumes") or [], files)
    for item in container.get("volumeMounts") or []:
        if item.get("subPath"):
            source = next(mount.source for mount in mounts if mount.target == item["mountPath"].rstrip("/"))
            if not source.exists():
                make_private_folder(source)
    environment = environment_of(
        container,
        pod=pod,
        data=lambda kind, name: data.get((kind, name)),
        inherited=inherited_environment(files, pod, surroundings),
    )
    words = [expand(word, environment) for word in (*container["command"], *(container.get("args") or []))]
    cwd = container.get("workingDir") or str(files.home)
    if not surroundings.isolated:
        folders = {mount.target: str(mount.source) for mount in mounts}
        words = [map_paths(word, folders) for word in words]
        environment = {name: map_paths(value, folders) for name, value in environment.items()}
        cwd = map_paths(cwd, folders)
    program = shutil.which(words[0], path=environment.get("PATH")) or words[0]
    names = Mount(files.hosts, "/etc/hosts", read_only=True)
    return Launch(
        [program, *words[1:]],
        environment,
        cwd,
        isolated=surroundings.isolated,
        mounts=[*mounts, names],
        hostname=hostname_of(pod),
    )


def termination_message(container: Document, *, pod: Document, files: PodFiles, failed: bool) -> str:
    """What the container wrote to its termination message file, or the end of its log where it asks so."""
    path = container.get("terminationMessagePath") or "/dev/termination-log"
    source = _on_this_machine(path, mounts_of(container, pod["spec"].get("volumes") or [], files))
    if source is not None and source.is_file():
        message = source.read_text(errors="replace")
        if message:
            return message[-4096:]
    if failed and container.get("terminationMessagePolicy") == "FallbackToLogsOnError":
        return _log_tail(files.container(container["name"]).log)
    return ""


def _on_this_machine(path: str, mounts: Sequence[Mount]) -> Path | None:
    for mount in reversed(mounts):
        if path == mount.target or path.startswith(f"{mount.target}/"):
            return mount.source / path[len(mount.target) :].lstrip("/")
    return None


def _log_tail(log: Path) -> str:
    """The last 80 lines, at most 2048 bytes, as a kubelet takes them."""
    if not log.exists():
        return ""
    lines = log.read_bytes()[-65536:].splitlines(keepends=True)[-80:]
    return b"".join(lines)[-2048:].decode(errors="replace")
