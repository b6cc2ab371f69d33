"""Which address is reached in the end: some of IPv6 are ways to one of IPv4, and rules are about that one. Pure."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

_NAT64: Final = IPv6Network("64:ff9b::/96")  # RFC 6052: its last four bytes are the IPv4 address that is reached

Address = IPv4Address | IPv6Address


def reached(text: str) -> Address:
    """The address that a connection to this one comes to; ValueError where it is none."""
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
