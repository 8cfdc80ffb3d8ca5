"""The state folder of a cluster: where its data, keys, logs and process records lie."""

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlinfra.errors import MlinfraError
from mlinfra.local.files import make_private_folder

DEFAULT_NAME = "default"
NAME_PATTERN = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")


def user_state_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """Where programs of this user keep state, by the XDG base directory specification."""
    base = environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "mlinfra"


def state_root(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of all clusters: ``MLINFRA_STATE_DIR``, else the user's state folder."""
    configured = environ.get("MLINFRA_STATE_DIR")
    return Path(configured).expanduser().absolute() if configured else user_state_directory(environ)


@dataclass(frozen=True, slots=True)
class ClusterState:
    """The folders and files of one cluster; nothing exists before `create`."""

    root: Path
    name: str = DEFAULT_NAME

    def __post_init__(self) -> None:
        if not NAME_PATTERN.fullmatch(self.name):
            raise MlinfraError(
                f"{self.name!r} cannot name a cluster: use up to 40 lower-case letters, digits and dashes"
            )

    @property
    def directory(self) -> Path:
        return self.root / self.name

    @property
    def lock_file(self) -> Path:
        """Outside of the folder it guards, which may be deleted."""
        return self.root / f".{self.name}.lock"

    @property
    def pki(self) -> Path:
        return self.directory / "pki"

    @property
    def etcd(self) -> Path:
        return self.directory / "etcd"

    @property
    def logs(self) -> Path:
        return self.directory / "logs"

    @property
    def run(self) -> Path:
        return self.directory / "run"

    @property
    def mlflow(self) -> Path:
        return self.directory / "mlflow"

    @property
    def feature_store(self) -> Path:
        return self.directory / "feature_store"

    @property
    def node(self) -> Path:
        return self.directory / "node"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.directory / "kubeconfig"

    @property
    def network_file(self) -> Path:
        return self.directory / "network.json"

    @property
    def binaries_file(self) -> Path:
        return self.directory / "binaries.json"

    def exists(self) -> bool:
        return self.directory.is_dir()

    def create(self) -> None:
        """Make the folders, readable by this user alone.

        Raises:
            MlinfraError: the folder cannot be made.
        """
        folders = (self.pki, self.etcd, self.logs, self.run, self.mlflow, self.feature_store, self.node)
        try:
            make_private_folder(self.root)
            make_private_folder(self.directory)
            for folder in folders:
                make_private_folder(folder)
        except OSError as error:
            raise MlinfraError(
                f"the state folder {self.directory} cannot be made ({error.strerror}: {error.filename}); "
                "choose another with MLINFRA_STATE_DIR or --state-dir"
            ) from error

    def delete(self) -> None:
        """Remove all that the cluster has stored."""
        if self.exists():
            shutil.rmtree(self.directory)
