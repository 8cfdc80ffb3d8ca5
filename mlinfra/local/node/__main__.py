"""The local node as a process: ``python -m mlinfra.local.node``; `mlinfra up` starts it."""

import argparse
import asyncio
import logging
from ipaddress import IPv4Network
from pathlib import Path

from mlinfra.kube import ClusterConfig, KubernetesClient
from mlinfra.local.node.agent import Agent, NodeSettings
from mlinfra.local.node.log_server import serve_logs


def main() -> None:
    arguments = _arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    asyncio.run(_run(arguments))


async def _run(arguments: argparse.Namespace) -> None:
    settings = NodeSettings(
        name=arguments.node_name,
        folder=arguments.state_dir,
        pod_network=arguments.pod_cidr,
        port=arguments.port,
        capacity=dict(arguments.capacity),
    )
    async with KubernetesClient(ClusterConfig.from_kubeconfig(arguments.kubeconfig)) as client:
        agent = Agent(client, settings)
        server = await serve_logs(
            agent,
            port=arguments.port,
            certificate=arguments.tls_cert_file,
            key=arguments.tls_private_key_file,
            client_ca=arguments.client_ca_file,
        )
        try:
            await agent.run()
        finally:
            await server.cleanup()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m mlinfra.local.node", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--node-name", required=True)
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--pod-cidr", type=IPv4Network, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--tls-cert-file", type=Path, required=True)
    parser.add_argument("--tls-private-key-file", type=Path, required=True)
    parser.add_argument("--client-ca-file", type=Path, required=True)
    parser.add_argument("--capacity", type=_amount, action="append", default=[], metavar="NAME=AMOUNT")
    return parser.parse_args()


def _amount(text: str) -> tuple[str, str]:
    name, _, amount = text.partition("=")
    if not name or not amount:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=AMOUNT, such as nvidia.com/gpu=1")
    return name, amount


if __name__ == "__main__":
    main()
