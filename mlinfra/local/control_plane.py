"""The command lines of the control plane: pure functions of addresses, files and keys."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlinfra.local.credentials import NODE_NAME, Credentials
from mlinfra.local.network import LOOPBACK, Network
from mlinfra.local.processes import ProcessSpec
from mlinfra.local.state import ClusterState

Programs = Mapping[str, Path]
"""The control plane's programs by name."""

ABSENT_CONTROLLERS = (
    # The API server refuses loopback addresses in EndpointSlices.
    "endpoints-controller",
    "endpointslice-controller",
    "endpointslice-mirroring-controller",
)


def etcd(
    state: ClusterState, network: Network, programs: Programs, credentials: Credentials, *, durable: bool
) -> ProcessSpec:
    """etcd, open to holders of a certificate of its own authority only."""
    client = f"https://{LOOPBACK}:{network.ports['etcd']}"
    peer = f"https://{LOOPBACK}:{network.ports['etcd-peer']}"
    pair, authority = credentials.pairs["etcd"], credentials.etcd_authority
    argv = [
        str(programs["etcd"]),
        f"--name={NODE_NAME}",
        f"--data-dir={state.etcd}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster={NODE_NAME}={peer}",
        "--client-cert-auth",
        f"--trusted-ca-file={authority}",
        f"--cert-file={pair.certificate}",
        f"--key-file={pair.key}",
        "--peer-client-cert-auth",
        f"--peer-trusted-ca-file={authority}",
        f"--peer-cert-file={pair.certificate}",
        f"--peer-key-file={pair.key}",
        "--log-level=warn",
    ]
    if not durable:
        argv.append("--unsafe-no-fsync")
    return ProcessSpec("etcd", argv, address=client, inputs=(authority, pair.certificate, pair.key))


REQUESTS_A_SECOND = 1000
"""By each of Kubernetes' own clients, which otherwise make 20 or 50: nobody else asks this API server."""

GANG_SCHEDULING = ("GenericWorkload", "GangScheduling")
"""Feature gates by which pods of a group start together."""
SCHEDULING_API = "scheduling.k8s.io/v1alpha2"


def api_server(
    network: Network, programs: Programs, credentials: Credentials, *, alpha: Sequence[str] = ()
) -> ProcessSpec:
    """kube-apiserver: Node and RBAC authorization, no anonymous requests, loopback only."""
    serving, kubelet = credentials.pairs["apiserver"], credentials.pairs["kubelet-client"]
    etcd_client = credentials.pairs["etcd-client"]
    argv = [
        str(programs["kube-apiserver"]),
        f"--bind-address={LOOPBACK}",
        f"--advertise-address={LOOPBACK}",
        f"--secure-port={network.ports['kube-apiserver']}",
        f"--tls-cert-file={serving.certificate}",
        f"--tls-private-key-file={serving.key}",
        f"--client-ca-file={credentials.authority}",
        "--anonymous-auth=false",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement",
        f"--etcd-servers=https://{LOOPBACK}:{network.ports['etcd']}",
        f"--etcd-cafile={credentials.etcd_authority}",
        f"--etcd-certfile={etcd_client.certificate}",
        f"--etcd-keyfile={etcd_client.key}",
        "--endpoint-reconciler-type=none",
        f"--service-cluster-ip-range={network.service_range}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={credentials.signing.certificate}",
        f"--service-account-signing-key-file={credentials.signing.key}",
        f"--kubelet-certificate-authority={credentials.authority}",
        f"--kubelet-client-certificate={kubelet.certificate}",
        f"--kubelet-client-key={kubelet.key}",
        "--kubelet-preferred-address-types=InternalIP",
        "--profiling=false",
        *_feature_gates(alpha),
        *([f"--runtime-config={SCHEDULING_API}=true"] if alpha else []),
    ]
    inputs = (
        credentials.authority,
        credentials.etcd_authority,
        credentials.signing.certificate,
        *(path for pair in (serving, kubelet, etcd_client) for path in (pair.certificate, pair.key)),
    )
    return ProcessSpec("kube-apiserver", argv, address=network.server, inputs=inputs)


def controller_manager(
    network: Network, programs: Programs, credentials: Credentials, *, alpha: Sequence[str] = ()
) -> ProcessSpec:
    """kube-controller-manager, each controller with the rules of its own ServiceAccount."""
    absent = ",".join(f"-{name}" for name in ABSENT_CONTROLLERS)
    return _kube_component(
        "kube-controller-manager",
        network,
        programs,
        credentials,
        kubeconfig=credentials.kubeconfigs["controller-manager"],
        arguments=[
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={credentials.signing.key}",
            f"--root-ca-file={credentials.authority}",
            f"--controllers=*,{absent}",
            *_feature_gates(alpha),
        ],
    )


def scheduler(
    network: Network, programs: Programs, credentials: Credentials, *, alpha: Sequence[str] = ()
) -> ProcessSpec:
    """kube-scheduler."""
    return _kube_component(
        "kube-scheduler",
        network,
        programs,
        credentials,
        kubeconfig=credentials.kubeconfigs["scheduler"],
        arguments=_feature_gates(alpha),
    )


def _feature_gates(names: Sequence[str]) -> list[str]:
    return [f"--feature-gates={','.join(f'{name}=true' for name in names)}"] if names else []


def node(
    state: ClusterState, network: Network, credentials: Credentials, *, capacity: Mapping[str, str]
) -> ProcessSpec:
    """The local node, which runs pods as processes of this machine."""
    serving, kubeconfig = credentials.pairs["serving"], credentials.kubeconfigs["node"]
    port = network.ports["node"]
    argv = [
        sys.executable,
        "-m",
        "mlinfra.local.node",
        f"--kubeconfig={kubeconfig}",
        f"--node-name={NODE_NAME}",
        f"--state-dir={state.node}",
        f"--pod-cidr={network.pod_range}",
        f"--port={port}",
        f"--tls-cert-file={serving.certificate}",
        f"--tls-private-key-file={serving.key}",
        f"--client-ca-file={credentials.authority}",
        *(f"--capacity={name}={amount}" for name, amount in sorted(capacity.items())),
    ]
    return ProcessSpec(
        "node",
        argv,
        address=f"https://{LOOPBACK}:{port}",
        inputs=(kubeconfig, serving.certificate, serving.key, credentials.authority),
        # Pods get their own time to end before the agent does.
        grace_seconds=45.0,
    )


def _kube_component(
    name: str,
    network: Network,
    programs: Programs,
    credentials: Credentials,
    *,
    kubeconfig: Path,
    arguments: list[str],
) -> ProcessSpec:
    serving, port = credentials.pairs["serving"], network.ports[name]
    argv = [
        str(programs[name]),
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        f"--bind-address={LOOPBACK}",
        f"--secure-port={port}",
        f"--tls-cert-file={serving.certificate}",
        f"--tls-private-key-file={serving.key}",
        "--leader-elect=false",
        "--profiling=false",
        f"--kube-api-qps={REQUESTS_A_SECOND}",
        f"--kube-api-burst={REQUESTS_A_SECOND}",
        *arguments,
    ]
    return ProcessSpec(
        name,
        argv,
        address=f"https://{LOOPBACK}:{port}",
        inputs=(kubeconfig, credentials.authority, serving.certificate, serving.key),
    )
