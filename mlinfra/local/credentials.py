"""The certificates and kubeconfigs that one cluster's components use."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from mlinfra.local.files import write_atomically
from mlinfra.local.network import LOOPBACK, Network
from mlinfra.local.pki import CertificateAuthority, KeyPair, Subject, ensure_signing_key
from mlinfra.local.state import ClusterState

NODE_NAME = "local"
CONTEXT = "mlinfra"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where keys, certificates and kubeconfigs lie.

    Attributes:
        authority: certificate of the Kubernetes authority.
        etcd_authority: certificate of etcd's own authority.
        pairs: certificates and keys by name.
        kubeconfigs: kubeconfig files by user.
        signing: the pair that signs ServiceAccount tokens.
    """

    authority: Path
    etcd_authority: Path
    pairs: Mapping[str, KeyPair]
    kubeconfigs: Mapping[str, Path]
    signing: KeyPair


def settle_credentials(state: ClusterState, network: Network) -> Credentials:
    """Make what is missing or about to expire, and write the kubeconfigs."""
    authority = CertificateAuthority.load_or_create(state.pki, "ca")
    etcd_authority = CertificateAuthority.load_or_create(state.pki, "etcd-ca")
    local = (LOOPBACK, "localhost")
    api_server_names = (
        *local,
        network.first_service_address,
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    )
    pairs = {
        "etcd": etcd_authority.issue("etcd", Subject("etcd", hosts=local, usages=("server", "client"))),
        "etcd-client": etcd_authority.issue("etcd-client", Subject("kube-apiserver")),
        "apiserver": authority.issue(
            "apiserver", Subject("kube-apiserver", hosts=api_server_names, usages=("server",))
        ),
        "kubelet-client": authority.issue("kubelet-client", Subject("kube-apiserver-kubelet-client")),
        "serving": authority.issue("serving", Subject("mlinfra", hosts=local, usages=("server",))),
    }
    users = {
        "admin": Subject("mlinfra-admin", groups=("system:masters",)),
        "controller-manager": Subject("system:kube-controller-manager"),
        "scheduler": Subject("system:kube-scheduler"),
        "node": Subject(f"system:node:{NODE_NAME}", groups=("system:nodes",)),
    }
    kubeconfigs = {}
    for user, subject in users.items():
        pairs[user] = authority.issue(user, subject)
        path = state.kubeconfig if user == "admin" else state.pki / f"{user}.kubeconfig"
        content = _kubeconfig(user, pairs[user], server=network.server, authority=authority.path)
        if not path.exists() or path.read_bytes() != content:
            write_atomically(path, content)
        kubeconfigs[user] = path
    return Credentials(
        authority=authority.path,
        etcd_authority=etcd_authority.path,
        pairs=pairs,
        kubeconfigs=kubeconfigs,
        signing=ensure_signing_key(state.pki, "service-account"),
    )


def _kubeconfig(user: str, pair: KeyPair, *, server: str, authority: Path) -> bytes:
    def encoded(path: Path) -> str:
        return base64.b64encode(path.read_bytes()).decode()

    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": CONTEXT,
        "clusters": [
            {
                "name": CONTEXT,
                "cluster": {"server": server, "certificate-authority-data": encoded(authority)},
            }
        ],
        "users": [
            {
                "name": user,
                "user": {
                    "client-certificate-data": encoded(pair.certificate),
                    "client-key-data": encoded(pair.key),
                },
            }
        ],
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": user}}],
    }
    return yaml.safe_dump(config).encode()
