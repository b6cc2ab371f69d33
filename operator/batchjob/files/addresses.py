"""Which addresses a worker may connect to on a user's behalf.

Link-local addresses are refused, and some others: a cloud's metadata service lives there and hands the node's
credentials to whoever asks. Loopback is a pod's own (a proxy beside the worker) and stays allowed. Private addresses
are allowed: object stores and model servers of the same cluster have them.

For https sources each connection, after redirects too, goes to an address that was checked. Endpoints of buckets, of
models, of mail servers and of databases are checked once, before they are used: against a mistake, not against a name
whose address changes afterwards. What stops that is a NetworkPolicy. A model server's redirects are not followed.
"""

import asyncio
import socket
from ipaddress import ip_address
from typing import Final

from batchjob.core.addresses import reached
from batchjob.errors import ConfigurationError

METADATA: Final = frozenset(  # those outside 169.254.0.0/16 and fe80::/10
    map(
        ip_address,
        (
            "fd00:ec2::254",  # AWS: the instance metadata service over IPv6
            "fd00:ec2::23",  # AWS: the EKS Pod Identity agent over IPv6
            "fd20:ce::254",  # Google Cloud: the metadata server of instances with IPv6 alone
            "100.100.100.200",  # Alibaba Cloud: instance metadata of ECS
            "168.63.129.16",  # Azure: the host's agent, with the configuration of the virtual machine
        ),
    )
)


async def resolve(host: str, port: int) -> list[str]:
    """Addresses of a host; OSError where it has none."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[4][0]) for address in found]


def is_forbidden(address: str) -> bool:
    """Whether no worker may connect there."""
    parsed = reached(address)
    return parsed.is_link_local or parsed in METADATA


def refusal(host: str, addresses: list[str]) -> str | None:
    """A sentence where one of the addresses is forbidden; None where all are fine."""
    bad = next((address for address in addresses if is_forbidden(address)), None)
    if bad is None:
        return None
    kind = "link-local" if reached(bad).is_link_local else "metadata"
    said = f"a {kind} address" if bad == host else f"the {kind} address {bad}"
    return f"{host} is {said}, where workers may not go: name another host"


async def check_host(host: str, field: str) -> None:
    """ConfigurationError, naming the field, where no worker may connect to a host.

    A name without an address is not ours to report.
    """
    try:
        addresses = await resolve(host, 0)
    except OSError:
        return
    except UnicodeError:
        raise ConfigurationError(f"{field}: {host} is no host name") from None
    if sentence := refusal(host, addresses):
        raise ConfigurationError(f"{field}: {sentence}")
