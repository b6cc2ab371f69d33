"""Which addresses a worker may connect to on a user's behalf.

Link-local addresses are refused: a cloud's metadata service lives there and hands the node's credentials to whoever
asks. Private addresses are allowed: object stores and model servers of the same cluster have them.
"""

import asyncio
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

METADATA_V6: Final = IPv6Address("fd00:ec2::254")  # AWS serves its metadata here too, outside fe80::/10


async def resolve(host: str, port: int) -> list[str]:
    """Addresses of a host; OSError where it has none."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[4][0]) for address in found]


def is_forbidden(address: str) -> bool:
    """Whether no worker may connect there."""
    parsed: IPv4Address | IPv6Address = ip_address(address.partition("%")[0])
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return parsed.is_link_local or parsed == METADATA_V6


def refusal(host: str, addresses: list[str]) -> str | None:
    """A sentence where one of the addresses is forbidden; None where all are fine."""
    bad = next((address for address in addresses if is_forbidden(address)), None)
    return None if bad is None else f"{host} is the link-local address {bad}, where workers may not go"
