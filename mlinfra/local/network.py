"""Addresses of a cluster: loopback ports that it keeps, and address ranges no other cluster has."""

import random
import socket
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from mlinfra.errors import MlinfraError
from mlinfra.local.files import read_json, write_json
from mlinfra.local.locks import short_lock
from mlinfra.local.state import ClusterState, user_state_directory

LOOPBACK = "127.0.0.1"
PORTS = range(20000, 30000)
"""Below the ports that Linux gives to outgoing connections, so that a stopped cluster's port stays free."""
RANGES = 32
PORT_OWNERS = {
    "etcd": "etcd",
    "etcd-peer": "etcd",
    "kube-apiserver": "kube-apiserver",
    "kube-controller-manager": "kube-controller-manager",
    "kube-scheduler": "kube-scheduler",
    "node": "node",
    "operator": "operator",
}
"""The component that listens on each port."""


@dataclass(frozen=True, slots=True)
class Network:
    """Ports by component, and the ranges that Services and pods take their addresses from."""

    range_index: int
    ports: Mapping[str, int]

    @property
    def service_range(self) -> IPv4Network:
        return IPv4Network(f"127.{96 + self.range_index}.0.0/16")

    @property
    def pod_range(self) -> IPv4Network:
        return IPv4Network(f"127.{128 + self.range_index}.0.0/16")

    @property
    def first_service_address(self) -> str:
        """The address of the Service ``kubernetes``."""
        return str(self.service_range[1])

    @property
    def server(self) -> str:
        """The URL of the API server."""
        return f"https://{LOOPBACK}:{self.ports['kube-apiserver']}"


def settle_network(state: ClusterState, *, running: Collection[str], registry: Path | None = None) -> Network:
    """The cluster's network: what it had before, with new ports only where others took the old ones.

    Args:
        state: the cluster.
        running: components that run now; they hold their own ports.
        registry: the file that says which cluster has which range; one for the user by default.

    Raises:
        MlinfraError: every range is taken, or another cluster has this one's.
    """
    stored = read_json(state.network_file) or {}
    index = _claim_range(
        registry or user_state_directory() / "networks.json", state.directory, stored.get("range_index")
    )
    ports = choose_ports(
        PORT_OWNERS,
        stored.get("ports", {}),
        held={name for name, owner in PORT_OWNERS.items() if owner in running},
        is_free=is_free,
        candidates=_shuffled_ports(),
    )
    network = Network(range_index=index, ports=ports)
    write_json(state.network_file, {"range_index": index, "ports": dict(ports)})
    return network


def stored_network(state: ClusterState) -> Network | None:
    """The network of a cluster that was started before."""
    stored = read_json(state.network_file)
    return Network(range_index=stored["range_index"], ports=stored["ports"]) if stored else None


def choose_ports(
    names: Iterable[str],
    stored: Mapping[str, int],
    *,
    held: Collection[str],
    is_free: Callable[[int], bool],
    candidates: Iterable[int],
) -> dict[str, int]:
    """A port for each name: the stored one if it is held by its owner or free, else a new one.

    Raises:
        MlinfraError: no candidate is free.
    """
    kept = {name: stored[name] for name in names if name in stored and name in held}
    for name in names:
        port = stored.get(name)
        if name not in kept and port is not None and port not in kept.values() and is_free(port):
            kept[name] = port
    remaining = iter(candidates)
    for name in names:
        if name in kept:
            continue
        free = next((port for port in remaining if port not in kept.values() and is_free(port)), None)
        if free is None:
            raise MlinfraError(f"no free port on {LOOPBACK} from {PORTS.start} to {PORTS.stop - 1}")
        kept[name] = free
    return kept


def choose_range(taken: Collection[int], wanted: int | None) -> int | None:
    """The wanted range, or the first free one where none is wanted; None if there is none."""
    if wanted is not None:
        return None if wanted in taken else wanted
    return next((index for index in range(RANGES) if index not in taken), None)


def is_free(port: int) -> bool:
    """Whether a server could listen on the port of the loopback address."""
    with socket.socket() as probe:
        # As servers do; without it a port is refused for a minute after its last connection.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def release_range(directory: Path, *, registry: Path | None = None) -> None:
    """Give the cluster's ranges back; to be called when its state folder is deleted."""
    registry = registry or user_state_directory() / "networks.json"
    with short_lock(registry.with_suffix(".lock")):
        claims = _live_claims(read_json(registry))
        write_json(registry, {index: owner for index, owner in claims.items() if owner != str(directory)})


def _claim_range(registry: Path, directory: Path, wanted: int | None) -> int:
    with short_lock(registry.with_suffix(".lock")):
        claims = _live_claims(read_json(registry))
        others = {int(index): owner for index, owner in claims.items() if owner != str(directory)}
        index = choose_range(others, wanted)
        if index is None:
            raise MlinfraError(_no_range(others, wanted))
        write_json(registry, {**{str(i): owner for i, owner in others.items()}, str(index): str(directory)})
        return index


def _live_claims(claims: Any) -> dict[str, str]:
    """Claims of clusters whose state folder still exists."""
    return {index: owner for index, owner in (claims or {}).items() if Path(owner).is_dir()}


def _no_range(others: Mapping[int, str], wanted: int | None) -> str:
    if wanted is not None:
        return (
            f"the address range 127.{96 + wanted}.0.0/16 of this cluster now belongs to the one in "
            f"{others[wanted]}; remove one of the two with 'mlinfra down --delete'"
        )
    return (
        f"all {RANGES} address ranges are taken by the clusters in {', '.join(sorted(others.values()))}; "
        "remove one with 'mlinfra down --delete'"
    )


def _shuffled_ports() -> list[int]:
    return random.sample(PORTS, len(PORTS))
