"""Which servers a store's URL means: one Redis, a cluster of them, or the one that sentinels name.

redis://host:port/db · rediss://… (TLS) · redis+cluster://host:port · rediss+cluster://… ·
redis+sentinel://host:port,host:port/name/db · rediss+sentinel://…
"""

from typing import Any, Final
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool

from batchjob.errors import ConfigurationError

Client = Redis | RedisCluster
SENTINEL_PORT: Final = 26379
_FORM: Final = "redis+sentinel://host:port,host:port/name/db"


def open_client(url: str, **settings: Any) -> Client:
    """A client, connected with its first call; ConfigurationError where the URL cannot be used."""
    scheme, _, topology = url.partition("://")[0].partition("+")
    plain = scheme + url[url.find("://") :]
    try:
        match topology:
            case "":
                return Redis.from_url(url, **settings)
            case "cluster":
                return RedisCluster.from_url(plain, **settings)
            case "sentinel":
                return _behind_sentinels(plain, settings)
    except ValueError as error:
        raise ConfigurationError(f"the store's URL cannot be used: {error}") from error
    raise ConfigurationError(f"the store's URL cannot be used: {scheme}+{topology} is neither cluster nor sentinel")


async def close_client(client: Client) -> None:
    """Close every connection, those to sentinels too: the library leaves them open."""
    await client.aclose()
    pool = getattr(client, "connection_pool", None)
    if isinstance(pool, SentinelConnectionPool):
        for sentinel in pool.sentinel_manager.sentinels:
            await sentinel.aclose()


def _behind_sentinels(url: str, settings: dict[str, Any]) -> Redis:
    parts = urlsplit(url)
    name, _, db = parts.path.strip("/").partition("/")
    if not name or "@" in parts.netloc or parts.scheme not in {"redis", "rediss"}:
        raise ValueError(f"it has the form {_FORM}")
    sentinels = [_address(sentinel) for sentinel in parts.netloc.split(",")]
    secure = {"ssl": True} if parts.scheme == "rediss" else {}
    timeouts = {name: settings[name] for name in ("socket_timeout", "socket_connect_timeout") if name in settings}
    sentinel = Sentinel(sentinels, sentinel_kwargs={**timeouts, **secure}, **settings, **secure)  # type: ignore[no-untyped-call]
    master: Redis = sentinel.master_for(name, db=int(db or 0))
    return master


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":") if ":" in text else (text, "", str(SENTINEL_PORT))
    return host, int(port)
