"""Addresses of pods: each live pod has its own out of the node's range."""

from collections.abc import Collection
from ipaddress import IPv4Network


class AddressesExhaustedError(Exception):
    """Every address of the range is in use."""


def choose_address(network: IPv4Network, taken: Collection[str]) -> str:
    """The lowest free address; the first one of the range is left out, as a gateway's would be.

    Raises:
        AddressesExhaustedError: there is none.
    """
    hosts = network.hosts()
    next(hosts)
    for host in hosts:
        if str(host) not in taken:
            return str(host)
    raise AddressesExhaustedError(f"every address of {network} is in use")
