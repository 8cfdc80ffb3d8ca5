"""Where the local node keeps a pod: volumes, scratch space, logs, and records of its processes."""

from dataclasses import dataclass
from pathlib import Path

from mlinfra.local.node.leftovers import PROCESS_FILE


@dataclass(frozen=True, slots=True)
class ContainerFiles:
    """The files of one container."""

    folder: Path

    @property
    def launch(self) -> Path:
        return self.folder / "launch.json"

    @property
    def process(self) -> Path:
        return self.folder / PROCESS_FILE

    @property
    def started(self) -> Path:
        return self.folder / "started.json"

    @property
    def exit(self) -> Path:
        return self.folder / "exit.json"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def previous_log(self) -> Path:
        return self.folder / "log.previous"

    @property
    def restarts(self) -> Path:
        return self.folder / "restarts.json"

    @property
    def stage(self) -> Path:
        """Where the launcher builds mounts."""
        return self.folder / "stage"


@dataclass(frozen=True, slots=True)
class PodFiles:
    """The files of one pod."""

    folder: Path

    @classmethod
    def of(cls, node_folder: Path, uid: str) -> "PodFiles":
        return cls(node_folder / "pods" / uid)

    @property
    def record(self) -> Path:
        """Namespace, name, address and start of the pod."""
        return self.folder / "pod.json"

    @property
    def hosts(self) -> Path:
        """The names that the pod knows."""
        return self.folder / "hosts"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def temporary(self) -> Path:
        return self.folder / "tmp"

    def volume(self, name: str) -> Path:
        return self.folder / "volumes" / name

    def container(self, name: str) -> ContainerFiles:
        return ContainerFiles(self.folder / "containers" / name)
