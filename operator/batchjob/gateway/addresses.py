"""Where a request comes from: the other end of the connection, or whom a trusted proxy names. Pure.

X-Forwarded-For is read from its end, past proxies that we trust: what stands further in front anybody may have sent.
"""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

from starlette.requests import HTTPConnection

Network = IPv4Network | IPv6Network
IPV6_PREFIX: Final = 64  # bits that one customer has: the rest is theirs to change with every request


def client_address(connection: HTTPConnection, trusted: Sequence[Network]) -> str:
    """The address; empty where there is none, as on a socket of the file system."""
    found = connection.client.host if connection.client else ""
    named = ",".join(connection.headers.getlist("X-Forwarded-For")).split(",")
    while named and _is_within(found, trusted):
        last = _plain(named.pop())
        if not last:
            break
        found = last
    return found


def counted_as(address: str) -> str:
    """What is counted as one source: an address, or a network that is one customer's."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return str(IPv6Network((parsed, IPV6_PREFIX), strict=False))
    return str(parsed)


def _is_within(address: str, networks: Sequence[Network]) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return any(parsed in network for network in networks)


def _plain(text: str) -> str:
    """The address in a part of the header; empty where it is none."""
    try:
        return str(ip_address(text.strip()))
    except ValueError:
        return ""
