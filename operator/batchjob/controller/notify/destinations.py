"""Which addresses the operator connects to because a user says so, and no others.

The operator stands where users do not: beside the API server, the store and the cloud's metadata service. So it goes
to public addresses alone, and to networks that whoever runs it has allowed. A name is looked up once, each of its
addresses is checked, and the connection is made to one of those: a name whose address changes in between gains
nothing. Names are looked up by threads of our own: a name server that hangs must not keep Redis' and the API server's
names from those threads that all others share, and each namespace has a few of them: whose names are slow must not keep
the others' waiting.
"""

import asyncio
import socket
import ssl
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache, partial
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import Final
from weakref import WeakValueDictionary

from batchjob.core.addresses import Address, reached
from batchjob.errors import ConfigurationError

LOOKUPS: Final = 64  # at a time
LOOKUPS_OF_ONE: Final = 4  # of a namespace
_GLOBAL_V6: Final = IPv6Network("2000::/3")  # all of IPv6 that was ever given out for use in the internet

Network = IPv4Network | IPv6Network


class Destinations:
    """Looks names up, and refuses what is neither public nor allowed."""

    def __init__(self, allowed: Sequence[Network], lookups: "Lookups | None" = None, namespace: str = "") -> None:
        """`allowed`: networks besides public addresses."""
        self._allowed = allowed
        self._lookups = lookups or Lookups()
        self._namespace = namespace

    def of(self, namespace: str) -> "Destinations":
        """The same on behalf of a namespace, which has places of its own among the lookups."""
        return Destinations(self._allowed, self._lookups, namespace)

    async def find(self, host: str, port: int, *, secure: bool = True, way_out: str = "use https") -> list[str]:
        """The addresses of a host, all of which may be called. OSError where it has none; ConfigurationError.

        Without `secure` what is said could be read on the way: then allowed networks alone will do, or the `way_out`.
        """
        addresses = await self.look_up(host, port)
        for text in addresses:
            address = reached(text)
            if self._is_allowed(address):
                continue
            if not is_public(address):
                where = host if text == host else f"{host} ({text})"
                raise ConfigurationError(
                    f"{where} is no public address, and the operator does not go there. Whoever runs it may allow the "
                    "network (notify.allowedNetworks of the chart)"
                )
            if not secure:
                raise ConfigurationError(f"{host} is a public address: {way_out}")
        return addresses

    async def look_up(self, host: str, port: int) -> list[str]:
        """The addresses of a host, whatever they are: of one that whoever runs the operator has named. As `find`."""
        try:
            found = await self._lookups.look_up(self._namespace, host, port)
        except UnicodeError:
            raise ConfigurationError(f"{host:.80} is no host name") from None
        return list(dict.fromkeys(found))

    def _is_allowed(self, address: Address) -> bool:
        return any(address.version == network.version and address in network for network in self._allowed)


class Lookups:
    """The threads that look names up, and each namespace's places among them."""

    def __init__(self) -> None:
        """No thread is started yet."""
        self._threads = ThreadPoolExecutor(LOOKUPS, thread_name_prefix="lookup")
        self._places: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def look_up(self, namespace: str, host: str, port: int) -> list[str]:
        """The addresses of a host. OSError, UnicodeError.

        Whoever waits no more leaves the thread at work, and its place is taken until that is done.
        """
        places = self._places.setdefault(namespace, asyncio.Semaphore(LOOKUPS_OF_ONE))
        await places.acquire()
        thread = self._threads.submit(_look_up, host, port)
        thread.add_done_callback(partial(_give_back, asyncio.get_running_loop(), places))
        return await asyncio.wrap_future(thread)


@lru_cache(maxsize=16)
def trusting(authorities: str | None = None) -> ssl.SSLContext:
    """TLS that trusts these certificates (PEM; None: the public ones). ConfigurationError.

    To read all public certificates takes 20 ms in which nothing else runs here: once is enough.
    """
    try:
        context = ssl.create_default_context(cadata=authorities)
    except (ssl.SSLError, ValueError):
        context = None
    if context is None or authorities == "":  # the library takes that for none at all
        raise ConfigurationError("it holds no certificates in PEM")
    return context


def is_public(address: Address) -> bool:
    """Whether the address belongs to the internet: not to this machine, this network, or nobody."""
    return (
        address.is_global and not address.is_multicast and (isinstance(address, IPv4Address) or address in _GLOBAL_V6)
    )


def _give_back(loop: asyncio.AbstractEventLoop, places: asyncio.Semaphore, _: object) -> None:
    with suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(places.release)


def _look_up(host: str, port: int) -> list[str]:
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
