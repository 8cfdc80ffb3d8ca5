"""Names of pods: their own host names, and those of peers that a cluster's DNS tells, as hosts files."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

SYSTEM_HOSTS = Path("/etc/hosts")
LOCALHOST = "127.0.0.1 localhost\n"
CLUSTER_DOMAIN = "svc.cluster.local"
MAX_HOSTNAME_LENGTH = 63

Pod = Mapping[str, Any]
AddressedPod = tuple[str, Pod]


def hostname_of(pod: Pod) -> str:
    """The host name that a pod sees as its own, cut as a kubelet cuts it."""
    name: str = pod["spec"].get("hostname") or pod["metadata"]["name"]
    return name[:MAX_HOSTNAME_LENGTH].rstrip("-.")


def peer_names(pod: Pod) -> tuple[str, ...]:
    """The names by which others find a pod with a hostname and a subdomain, the longest first; else none."""
    hostname, subdomain = pod["spec"].get("hostname"), pod["spec"].get("subdomain")
    if not hostname or not subdomain:
        return ()
    short = f"{hostname}.{subdomain}"
    in_namespace = f"{short}.{pod['metadata']['namespace']}"
    return (f"{in_namespace}.{CLUSTER_DOMAIN}", in_namespace, short)


def hosts_content(system: str, own: AddressedPod, pods: Iterable[AddressedPod]) -> str:
    """What a pod sees as its hosts file: the machine's names, its own, and those of its peers.

    Args:
        system: the machine's hosts file.
        own: address of the pod, and the pod.
        pods: address and pod of every pod of the node.
    """
    address, pod = own
    mine = f"{address} {' '.join((*peer_names(pod), hostname_of(pod)))}"
    others = sorted(
        f"{other_address} {' '.join(names)}"
        for other_address, other in pods
        if other_address != address and (names := peer_names(other))
    )
    return "".join(f"{line}\n" for line in (*system.splitlines(), mine, *others))


def write_hosts(path: Path, own: AddressedPod, pods: Iterable[AddressedPod]) -> None:
    """Write the file in place: a running pod has this very file mounted, and not its name."""
    system = SYSTEM_HOSTS.read_text() if SYSTEM_HOSTS.is_file() else LOCALHOST
    content = hosts_content(system, own, pods).encode()
    if path.is_file() and path.read_bytes() == content:
        return
    with path.open("r+b" if path.exists() else "xb") as file:
        file.write(content)
        file.truncate()
